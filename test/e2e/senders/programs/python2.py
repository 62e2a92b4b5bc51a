"""What the CloudEvents SDK for Python, version 2, writes. See README.md beside the recordings."""

from datetime import datetime, timedelta, timezone

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v03.event import CloudEvent as OldEvent
from cloudevents.core.v1.event import CloudEvent

URL = "http://127.0.0.1:8080/senders/"
HOUR = timezone(timedelta(hours=5, minutes=30))


def attributes(name, **more):
    return {
        "id": name,
        "source": "/python/sdk",
        "type": "com.example.order.created",
        "specversion": "1.0",
        "time": datetime(2026, 11, 25, 1, 2, 3, 456789, tzinfo=timezone.utc),
        **more,
    }


def send(name, message):
    requests.post(URL + name, data=message.body, headers=message.headers).raise_for_status()


json = {"datacontenttype": "application/json"}
data = {"order": 1, "name": "Zoë", "price": 9.5, "tags": ["a", None, True]}

event = CloudEvent(attributes("python-2-binary", subject="tenant 7/é€😀", **json), data)
send("python-2-binary", to_binary_event(event))

late = attributes("python-2-structured", subject="tenant 7/é€😀", **json)
late["time"] = datetime(2026, 11, 25, 6, 32, 3, tzinfo=HOUR)
send("python-2-structured", to_structured_event(CloudEvent(late, data)))

image = attributes("python-2-image", datacontenttype="image/png")
send("python-2-image", to_binary_event(CloudEvent(image, bytes(range(256)))))

base64 = attributes("python-2-base64", datacontenttype="image/png")
send("python-2-base64", to_structured_event(CloudEvent(base64, bytes(range(256)))))

send("python-2-nothing", to_binary_event(CloudEvent(attributes("python-2-nothing"))))

old = attributes("python-2-old", **json)
old["specversion"] = "0.3"
send("python-2-old", to_structured_event(OldEvent(old, b"\x00\xff")))

# The SDK has no batch: this is what its users write.
writer = JSONFormat()
events = [CloudEvent(attributes(f"python-2-batch-{n}", **json), {"n": n}) for n in range(3)]
batch = b"[" + b", ".join(writer.write(event) for event in events) + b"]"
headers = {"content-type": "application/cloudevents-batch+json"}
requests.post(URL + "python-2-batch", data=batch, headers=headers).raise_for_status()
