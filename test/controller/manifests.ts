/** Resources written as people write them, for tests: parsed and validated like a file in a folder. */
import { readManifests, type ManifestFile } from '../../controller/source/manifest.ts';
import { loadSchemas } from '../../controller/source/schemas.ts';
import type { ResourceProblem, Snapshot } from '../../core/ports/resource-source.ts';

const schemas = loadSchemas();

export async function readFileText(text: string | Uint8Array): Promise<ManifestFile> {
  return readManifests(Buffer.from(text), 'file.yaml', await schemas);
}

/** What is valid in the text, and what is wrong with the rest of it. */
export async function snapshotOf(text: string | Uint8Array): Promise<Snapshot> {
  const file = await readFileText(text);
  if (file.kind === 'unusable') return { resources: [], problems: [file.problem] };
  return {
    resources: file.documents.flatMap(({ resource }) => resource ?? []),
    problems: file.documents.flatMap(({ problems }) => problems),
  };
}

export async function problemsOf(text: string | Uint8Array): Promise<readonly ResourceProblem[]> {
  return (await snapshotOf(text)).problems;
}

/** `where detail` of each problem. */
export async function complaintsOf(text: string | Uint8Array): Promise<string[]> {
  return (await problemsOf(text)).map(({ where, detail }) => `${where} ${detail}`);
}

export function broker(name = 'default', more = ''): string {
  return `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: ${name}
${more}`;
}

/** @param spec lines below `spec`, indented by two. */
export function trigger(spec: string, metadata = ''): string {
  return `
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: t
${metadata}
spec:
${spec}`;
}

export function channel(name: string, more = '', kind = 'KnearChannel'): string {
  const group = kind === 'KnearChannel' ? 'knear' : 'knative';
  return `
apiVersion: messaging.${group}.dev/v1
kind: ${kind}
metadata:
  name: ${name}
${more}`;
}

export function subscription(spec: string, metadata = ''): string {
  return `
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata:
  name: s
${metadata}
spec:
${spec}`;
}

export function documents(...texts: string[]): string {
  return texts.join('\n---\n');
}
