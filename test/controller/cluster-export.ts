/**
 * What `kubectl get brokers,triggers,... -A -o yaml` prints in a cluster of Kubernetes 1.33 with Knative Eventing: fields
 * of the API server, statuses, defaults that the webhook wrote, and what other programs put beside ours.
 */

const condition = (type: string, more = '') =>
  `{lastTransitionTime: "2026-05-04T10:00:01Z", status: "True", type: ${type}${more}}`;

/** Indented for `metadata` of an item. */
const metadata = (name: string, more = '') => `
    creationTimestamp: "2026-05-04T10:00:00Z"
    generation: 2
    name: ${name}
    namespace: shop
    resourceVersion: "184467"
    uid: 6f1c2b0a-5a2e-4c3b-9f6d-000000000001
    managedFields:
    - apiVersion: eventing.knative.dev/v1
      fieldsType: FieldsV1
      fieldsV1:
        f:metadata:
          f:annotations:
            .: {}
            f:kubectl.kubernetes.io/last-applied-configuration: {}
      manager: kubectl-client-side-apply
      operation: Update
      time: "2026-05-04T10:00:00Z"
    - apiVersion: eventing.knative.dev/v1
      fieldsType: FieldsV1
      fieldsV1:
        f:status:
          k:{"type":"Ready"}:
            .: {}
      manager: controller
      operation: Update
      subresource: status
      time: "2026-05-04T10:00:01Z"${more}`;

/** Kinds of Kubernetes have no generation. */
const plain = (name: string, more = '') => metadata(name, more).replace('    generation: 2\n', '');

const owner = (kind: string, name: string) => `
    ownerReferences:
    - apiVersion: flows.knative.dev/v1
      blockOwnerDeletion: true
      controller: true
      kind: ${kind}
      name: ${name}
      uid: 6f1c2b0a-5a2e-4c3b-9f6d-000000000002`;

const EVENTING = `
- apiVersion: eventing.knative.dev/v1
  kind: Broker
  metadata:${metadata('default')}
    annotations:
      eventing.knative.dev/broker.class: MTChannelBasedBroker
      eventing.knative.dev/creator: kubernetes-admin
      eventing.knative.dev/lastModifier: kubernetes-admin
      kubectl.kubernetes.io/last-applied-configuration: |
        {"apiVersion":"eventing.knative.dev/v1","kind":"Broker","metadata":{"annotations":{},"name":"default","namespace":"shop"}}
    finalizers:
    - brokers.eventing.knative.dev
    selfLink: /apis/eventing.knative.dev/v1/namespaces/shop/brokers/default
  spec:
    config:
      apiVersion: v1
      kind: ConfigMap
      name: config-br-default-channel
      namespace: knative-eventing
    delivery:
      backoffDelay: PT0.2S
      backoffPolicy: exponential
      retry: 10
  status:
    address:
      name: http
      url: http://broker-ingress.knative-eventing.svc.cluster.local/shop/default
    annotations:
      bootstrap.servers: kafka:9092
      knative.dev/channelAPIVersion: messaging.knative.dev/v1
      knative.dev/channelAddress: http://default-kne-trigger-kn-channel.shop.svc.cluster.local
      knative.dev/channelKind: InMemoryChannel
      knative.dev/channelName: default-kne-trigger
    conditions:
    - ${condition('Addressable')}
    - ${condition('DeadLetterSinkResolved', ', reason: DeadLetterSinkNotConfigured, severity: Info')}
    - ${condition('EventPoliciesReady', ', reason: OIDCDisabled, message: "Feature \\"authentication-oidc\\" must be enabled"')}
    - ${condition('FilterReady')}
    - ${condition('IngressReady')}
    - ${condition('Ready')}
    - ${condition('TriggerChannelReady')}
    observedGeneration: 2
- apiVersion: eventing.knative.dev/v1
  kind: Trigger
  metadata:${metadata('orders')}
    annotations:
      eventing.knative.dev/creator: kubernetes-admin
      knative.dev/dependency: '{"kind":"PingSource","name":"clock","apiVersion":"sources.knative.dev/v1"}'
    labels:
      eventing.knative.dev/broker: default
  spec:
    broker: default
    delivery:
      deadLetterSink:
        ref: {apiVersion: v1, kind: Service, name: orders, namespace: shop}
        uri: /dead
      timeout: PT30S
    filter: {}
    filters:
    - any:
      - exact: {type: order.created}
      - not: {prefix: {type: order.}}
    subscriber:
      ref: {apiVersion: v1, kind: Service, name: orders, namespace: shop}
  status:
    auth: {serviceAccountName: orders-oidc-eventing.knative.dev-trigger}
    conditions:
    - ${condition('BrokerReady')}
    - ${condition('Ready')}
    deadLetterSinkUri: http://orders.shop.svc.cluster.local/dead
    observedGeneration: 2
    subscriberUri: http://orders.shop.svc.cluster.local
- apiVersion: messaging.knative.dev/v1
  kind: Channel
  metadata:${metadata('parcels')}
    annotations:
      messaging.knative.dev/creator: kubernetes-admin
      messaging.knative.dev/lastModifier: kubernetes-admin
      messaging.knative.dev/subscribable: v1
  spec:
    channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}
  status:
    address: {name: http, url: "http://parcels-kn-channel.shop.svc.cluster.local"}
    channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: parcels, namespace: shop}
    conditions:
    - ${condition('BackingChannelReady')}
    - ${condition('Ready')}
    observedGeneration: 1
    subscribers:
    - {observedGeneration: 1, ready: "True", uid: 6f1c2b0a-5a2e-4c3b-9f6d-000000000009}
- apiVersion: messaging.knative.dev/v1
  kind: InMemoryChannel
  metadata:${metadata('parcels', owner('Channel', 'parcels').replace('flows', 'messaging'))}
    annotations:
      eventing.knative.dev/scope: cluster
      messaging.knative.dev/subscribable: v1
    finalizers:
    - inmemorychannels.messaging.knative.dev
  spec:
    subscribers:
    - generation: 1
      name: parcels
      replyUri: http://broker-ingress.knative-eventing.svc.cluster.local/shop/default
      subscriberUri: http://orders.shop.svc.cluster.local
      uid: 6f1c2b0a-5a2e-4c3b-9f6d-000000000009
  status:
    address: {name: http, url: "http://parcels-kn-channel.shop.svc.cluster.local"}
    conditions:
    - ${condition('DispatcherReady')}
    - ${condition('Ready')}
    policies:
    - {apiVersion: eventing.knative.dev/v1alpha1, name: anybody}
- apiVersion: messaging.knative.dev/v1
  kind: Subscription
  metadata:${metadata('parcels')}
    annotations: {messaging.knative.dev/creator: kubernetes-admin}
    deletionGracePeriodSeconds: 0
    finalizers:
    - subscriptions.messaging.knative.dev
  spec:
    channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: parcels}
    reply:
      ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default, namespace: shop}
    subscriber:
      ref: {apiVersion: v1, kind: Service, name: orders, namespace: shop}
  status:
    auth: {}
    conditions:
    - ${condition('AddedToChannel')}
    - ${condition('Ready')}
    observedGeneration: 1
    physicalSubscription:
      replyUri: http://broker-ingress.knative-eventing.svc.cluster.local/shop/default
      subscriberUri: http://orders.shop.svc.cluster.local
`;

const FLOWS = `
- apiVersion: flows.knative.dev/v1
  kind: Sequence
  metadata:${metadata('fulfil')}
  spec:
    channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}
    reply:
      ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default, namespace: shop}
    steps:
    - ref: {apiVersion: v1, kind: Service, name: orders, namespace: shop}
    - delivery: {backoffDelay: PT1S, backoffPolicy: linear, retry: 3}
      ref: {apiVersion: v1, kind: Service, name: orders, namespace: shop}
      uri: /ship
  status:
    address: {name: http, url: "http://fulfil-kn-sequence-0-kn-channel.shop.svc.cluster.local"}
    auth: {}
    channelStatuses:
    - channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: fulfil-kn-sequence-0, namespace: shop}
      ready: ${condition('Ready')}
    conditions:
    - ${condition('Ready')}
    subscriptionStatuses:
    - ready: ${condition('Ready')}
      subscription: {apiVersion: messaging.knative.dev/v1, kind: Subscription, name: fulfil-kn-sequence-0, namespace: shop}
- apiVersion: messaging.knative.dev/v1
  kind: Subscription
  metadata:${metadata('fulfil-kn-sequence-0', owner('Sequence', 'fulfil'))}
  spec:
    channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: fulfil-kn-sequence-0}
    reply:
      ref: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: fulfil-kn-sequence-1, namespace: shop}
    subscriber:
      ref: {apiVersion: v1, kind: Service, name: orders, namespace: shop}
- apiVersion: flows.knative.dev/v1
  kind: Parallel
  metadata:${metadata('notify')}
  spec:
    branches:
    - filter: {uri: "http://orders.shop.svc.cluster.local/is-large"}
      subscriber:
        ref: {apiVersion: v1, kind: Service, name: orders, namespace: shop}
    channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}
  status:
    address: {url: "http://notify-kn-parallel-kn-channel.shop.svc.cluster.local"}
    branchStatuses:
    - filterChannelStatus:
        channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: notify-kn-parallel-0, namespace: shop}
        ready: ${condition('Ready')}
      filterSubscriptionStatus:
        ready: ${condition('Ready')}
        subscription: {apiVersion: messaging.knative.dev/v1, kind: Subscription, name: notify-kn-parallel-filter-0, namespace: shop}
      subscriberSubscriptionStatus:
        ready: ${condition('Ready')}
        subscription: {apiVersion: messaging.knative.dev/v1, kind: Subscription, name: notify-kn-parallel-0, namespace: shop}
    conditions:
    - ${condition('Ready')}
    ingressChannelStatus:
      channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: notify-kn-parallel, namespace: shop}
      ready: ${condition('Ready')}
`;

const SERVICES = `
- apiVersion: v1
  kind: Service
  metadata:${plain('orders')}
    labels: {app: orders}
  spec:
    clusterIP: 10.96.12.7
    clusterIPs:
    - 10.96.12.7
    - fd00:10:96::a1
    internalTrafficPolicy: Cluster
    ipFamilies: [IPv4, IPv6]
    ipFamilyPolicy: PreferDualStack
    ports:
    - {appProtocol: http, name: http, nodePort: 30080, port: 80, protocol: TCP, targetPort: 8080}
    - {name: metrics, port: 9090, protocol: TCP, targetPort: metrics}
    selector: {app: orders}
    sessionAffinity: ClientIP
    sessionAffinityConfig: {clientIP: {timeoutSeconds: 10800}}
    trafficDistribution: PreferClose
    type: NodePort
  status:
    loadBalancer: {}
- apiVersion: v1
  kind: Service
  metadata:${plain('front')}
  spec:
    allocateLoadBalancerNodePorts: true
    clusterIP: 10.96.12.8
    clusterIPs: [10.96.12.8]
    externalTrafficPolicy: Local
    healthCheckNodePort: 31234
    internalTrafficPolicy: Cluster
    ipFamilies: [IPv4]
    ipFamilyPolicy: SingleStack
    loadBalancerClass: example.com/lb
    ports:
    - {port: 443, protocol: TCP, targetPort: 8443}
    publishNotReadyAddresses: true
    type: LoadBalancer
  status:
    conditions: []
    loadBalancer:
      ingress:
      - {ip: 192.0.2.1, ipMode: VIP}
- apiVersion: v1
  kind: Service
  metadata:${plain('parcels-kn-channel', owner('Channel', 'parcels').replace('flows', 'messaging'))}
    labels: {messaging.knative.dev/role: in-memory-channel}
  spec:
    externalName: imc-dispatcher.knative-eventing.svc.cluster.local
    ports:
    - {name: http, port: 80, protocol: TCP, targetPort: 80}
    - {name: https, port: 443, protocol: TCP, targetPort: 443}
    sessionAffinity: None
    type: ExternalName
  status: {loadBalancer: {}}
- apiVersion: v1
  kind: Service
  metadata:${plain('peers')}
  spec:
    clusterIP: None
    clusterIPs: [None]
    sessionAffinity: None
    type: ClusterIP
  status: {loadBalancer: {}}
- addressType: IPv4
  apiVersion: discovery.k8s.io/v1
  endpoints:
  - addresses:
    - 10.244.1.5
    conditions: {ready: true, serving: true, terminating: false}
    hints:
      forNodes: [{name: worker-1}]
      forZones: [{name: zone-a}]
    nodeName: worker-1
    targetRef: {kind: Pod, name: orders-7c9, namespace: shop, uid: 6f1c2b0a-5a2e-4c3b-9f6d-00000000000a}
    zone: zone-a
  - addresses: [10.244.2.6]
    conditions: {ready: false, serving: true, terminating: true}
    deprecatedTopology: {kubernetes.io/hostname: worker-2}
  kind: EndpointSlice
  metadata:${metadata('orders-x7k2p', owner('Service', 'orders').replace('flows.knative.dev/v1', 'v1'))}
    generateName: orders-
    annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2026-05-04T10:00:00Z"}
    labels:
      endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
      kubernetes.io/service-name: orders
  ports:
  - {appProtocol: http, name: http, port: 8080, protocol: TCP}
  - {name: metrics, port: 9090, protocol: TCP}
- addressType: FQDN
  apiVersion: discovery.k8s.io/v1
  endpoints:
  - addresses: [orders.example.com]
    hostname: orders-0
  kind: EndpointSlice
  metadata:${metadata('outside-1')}
    labels: {kubernetes.io/service-name: outside}
  ports: []
- addressType: IPv6
  apiVersion: discovery.k8s.io/v1
  endpoints: null
  kind: EndpointSlice
  metadata:${metadata('front-8q2zz')}
    labels: {kubernetes.io/service-name: front}
  ports: null
`;

/** What a kubelet and its node say of themselves, shortened where one thing is like the other. */
const PODS = `
- apiVersion: v1
  kind: Pod
  metadata:${metadata('orders-7c9', owner('ReplicaSet', 'orders').replace('flows.knative.dev/v1', 'apps/v1'))}
    generateName: orders-
    annotations: {kubernetes.io/psp: eks.privileged}
    labels: {app: orders, pod-template-hash: 7c9}
  spec:
    affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}
    containers:
    - env:
      - {name: PASSWORD, value: secret}
      - {name: POD_IP, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.podIP}}}
      image: example.com/orders:1
      name: orders
      ports: [{containerPort: 8080, name: http, protocol: TCP}]
      resources: {limits: {cpu: "1", memory: 128Mi}}
      volumeMounts: [{mountPath: /var/run/secrets/kubernetes.io/serviceaccount, name: kube-api-access-x, readOnly: true}]
    dnsPolicy: ClusterFirst
    enableServiceLinks: true
    nodeName: worker-1
    preemptionPolicy: PreemptLowerPriority
    priority: 0
    securityContext: {}
    serviceAccountName: default
    tolerations: [{effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}]
    volumes:
    - name: kube-api-access-x
      projected: {defaultMode: 420, sources: [{serviceAccountToken: {expirationSeconds: 3607, path: token}}]}
  status:
    conditions:
    - {lastProbeTime: null, lastTransitionTime: "2026-05-04T10:00:01Z", status: "True", type: Ready}
    containerStatuses:
    - {containerID: "containerd://1", image: example.com/orders:1, imageID: "", name: orders, ready: true, restartCount: 0, started: true, state: {running: {startedAt: "2026-05-04T10:00:01Z"}}}
    hostIP: 172.18.0.3
    hostIPs: [{ip: 172.18.0.3}]
    phase: Running
    podIP: 10.244.1.5
    podIPs: [{ip: 10.244.1.5}, {ip: "fd00:10:244:1::5"}]
    qosClass: Burstable
    startTime: "2026-05-04T10:00:00Z"
- apiVersion: v1
  kind: Node
  metadata:${plain('worker-1').replace('    namespace: shop\n', '')}
    annotations: {node.alpha.kubernetes.io/ttl: "0"}
    labels: {kubernetes.io/hostname: worker-1, topology.kubernetes.io/zone: zone-a}
  spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24], providerID: "kind://docker/kind/worker-1"}
  status:
    addresses: [{address: 172.18.0.3, type: InternalIP}]
    capacity: {cpu: "8", memory: 16Gi, pods: "110"}
    nodeInfo: {kernelVersion: 6.1.0, kubeletVersion: v1.33.0}
- apiVersion: v1
  kind: Namespace
  metadata:${plain('shop').replace('    namespace: shop\n', '')}
    labels: {kubernetes.io/metadata.name: shop}
  spec: {finalizers: [kubernetes]}
  status: {phase: Active}
`;

const DATA = `
- apiVersion: v1
  data:
    channel-template-spec: |
      apiVersion: messaging.knative.dev/v1
      kind: InMemoryChannel
  kind: ConfigMap
  metadata:${plain('config-br-default-channel')}
- apiVersion: v1
  binaryData: {logo.png: iVBORw0KGgo=}
  immutable: true
  kind: ConfigMap
  metadata:${plain('logo')}
- apiVersion: v1
  data:
    tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==
    tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg==
  kind: Secret
  metadata:${plain('orders-tls')}
  type: kubernetes.io/tls
- apiVersion: v1
  immutable: false
  kind: Secret
  metadata:${plain('nothing')}
  type: Opaque
`;

export const CLUSTER_EXPORT = `apiVersion: v1
items:${EVENTING}${FLOWS}${SERVICES}${PODS}${DATA}
kind: List
metadata:
  resourceVersion: ""
`.replaceAll(/\n{2,}/g, '\n');
