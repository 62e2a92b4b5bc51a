// What the CloudEvents SDK for Java writes, with both HTTP clients of the JDK. See README.md beside the recordings.

import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.message.MessageWriter;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.jackson.JsonFormat;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.function.Consumer;

public class Sender {
  static final String URL = "http://127.0.0.1:8080/senders/";

  static CloudEventBuilder event(String name) {
    return CloudEventBuilder.v1()
        .withId(name)
        .withSource(URI.create("urn:example:java:sdk"))
        .withType("com.example.order.created")
        .withTime(OffsetDateTime.parse("2026-11-25T01:02:03.123456789+01:00"));
  }

  /** java.net.http, as it is without options: it offers HTTP/2. */
  static void send(String name, Consumer<MessageWriter<?, ?>> write) throws Exception {
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(URL + name));
    write.accept(
        HttpMessageFactory.createWriter(
            request::setHeader,
            body ->
                request.POST(
                    body == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(body))));
    HttpClient.newHttpClient().send(request.build(), BodyHandlers.discarding());
  }

  /** java.net.HttpURLConnection. */
  static void sendOld(String name, CloudEvent event) throws Exception {
    HttpURLConnection connection = (HttpURLConnection) URI.create(URL + name).toURL().openConnection();
    connection.setRequestMethod("POST");
    connection.setDoOutput(true);
    HttpMessageFactory.createWriter(
            connection::setRequestProperty,
            body -> {
              try (var stream = connection.getOutputStream()) {
                stream.write(body);
              } catch (IOException failure) {
                throw new UncheckedIOException(failure);
              }
            })
        .writeBinary(event);
    connection.getResponseCode();
  }

  static byte[] allBytes() {
    byte[] bytes = new byte[256];
    for (int index = 0; index < bytes.length; index += 1) bytes[index] = (byte) index;
    return bytes;
  }

  public static void main(String[] arguments) throws Exception {
    byte[] data = "{\"name\": \"Zoë\", \"order\": 1}".getBytes(StandardCharsets.UTF_8);
    CloudEvent order =
        event("java-binary")
            .withSubject("a/b")
            .withExtension("retries", 3)
            .withExtension("isurgent", true)
            .withData("application/json", data)
            .build();
    send("java-binary", writer -> writer.writeBinary(order));
    CloudEvent same = CloudEventBuilder.v1(order).withId("java-structured").build();
    send("java-structured", writer -> writer.writeStructured(same, new JsonFormat()));
    CloudEvent image = event("java-base64").withData("image/png", allBytes()).build();
    send("java-base64", writer -> writer.writeStructured(image, new JsonFormat()));
    CloudEvent nothing = event("java-nothing").build();
    send("java-nothing", writer -> writer.writeBinary(nothing));
    sendOld("java-url", event("java-url").withData("application/json", data).build());
  }
}
