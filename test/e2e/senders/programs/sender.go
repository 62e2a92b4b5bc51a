// What the CloudEvents SDK for Go writes. See README.md beside the recordings.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

const url = "http://127.0.0.1:8080/senders/"

func newEvent(name string) cloudevents.Event {
	e := cloudevents.NewEvent()
	e.SetID(name)
	e.SetSource("https://example.com/go/sdk?a=b c")
	e.SetType("com.example.order.created")
	e.SetTime(time.Date(2026, 11, 25, 1, 2, 3, 123456789, time.FixedZone("", -7*3600)))
	return e
}

func withData(name, contentType string, data interface{}) cloudevents.Event {
	e := newEvent(name)
	must(e.SetData(contentType, data))
	return e
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func send(ctx context.Context, name string, e cloudevents.Event) {
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(url + name))
	must(err)
	if result := client.Send(ctx, e); !cloudevents.IsACK(result) {
		log.Fatal(name, ": ", result)
	}
}

func allBytes() []byte {
	bytes := make([]byte, 256)
	for i := range bytes {
		bytes[i] = byte(i)
	}
	return bytes
}

func main() {
	ctx := context.Background()
	structured := binding.WithForceStructured(ctx)
	data := map[string]interface{}{"name": "Zoë <b>", "order": 1}

	e := withData("go-binary", cloudevents.ApplicationJSON, data)
	e.SetSubject("hello world 100%")
	e.SetDataSchema("https://example.com/schema#order")
	e.SetExtension("retries", 3)
	e.SetExtension("isurgent", true)
	e.SetExtension("until", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	e.SetExtension("token", []byte{0, 1, 0xfe, 0xff})
	send(ctx, "go-binary", e)
	e.SetID("go-structured")
	send(structured, "go-structured", e)

	image := withData("go-image", "image/png", allBytes())
	send(ctx, "go-image", image)
	image.SetID("go-base64")
	send(structured, "go-base64", image)

	send(ctx, "go-nothing", newEvent("go-nothing"))

	old := withData("go-old", cloudevents.ApplicationJSON, data)
	old.SetSpecVersion("0.3")
	send(ctx, "go-old", old)

	request, err := cehttp.NewHTTPRequestFromEvents(ctx, url+"go-batch", []event.Event{
		withData("go-batch-0", cloudevents.ApplicationJSON, data),
		withData("go-batch-1", cloudevents.TextPlain, "two"),
		newEvent("go-batch-2"),
	})
	must(err)
	_, err = http.DefaultClient.Do(request)
	must(err)
}
