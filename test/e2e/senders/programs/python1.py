"""What the CloudEvents SDK for Python, version 1, writes. See README.md beside the recordings."""

import requests
from cloudevents.conversion import to_binary, to_json, to_structured
from cloudevents.http import CloudEvent

URL = "http://127.0.0.1:8080/senders/"


def attributes(name, **more):
    return {
        "id": name,
        "source": "https://example.com/python",
        "type": "com.example.order.created",
        "time": "2026-11-25T01:02:03.456789+00:00",
        **more,
    }


def send(name, message):
    headers, body = message
    requests.post(URL + name, data=body, headers=headers).raise_for_status()


data = {"order": 1, "name": "Zoë"}
plain = attributes("python-1-binary", subject="a b", traceid="4bf92f35")
send("python-1-binary", to_binary(CloudEvent(plain, data)))
send("python-1-structured", to_structured(CloudEvent(attributes("python-1-structured"), data)))

text = attributes("python-1-text", datacontenttype="text/plain; charset=utf-8")
send("python-1-text", to_binary(CloudEvent(text, "naïve"), lambda value: value.encode()))

image = attributes("python-1-base64", datacontenttype="application/octet-stream")
send("python-1-base64", to_structured(CloudEvent(image, b"\x00\x01\xfe\xff")))

events = [CloudEvent(attributes(f"python-1-batch-{n}"), {"n": n}) for n in range(2)]
batch = b"[" + b",".join(to_json(event) for event in events) + b"]"
headers = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}
requests.post(URL + "python-1-batch", data=batch, headers=headers).raise_for_status()
