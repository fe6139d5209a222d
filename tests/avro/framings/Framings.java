// Writes one event in the framing of each vendor, by the vendor's own serialiser, to a JSON array on standard output. Bytes
// are in hexadecimal digits. No registry is asked: each serialiser is given what a registry would have answered.

import com.amazonaws.services.schemaregistry.serializers.GlueSchemaRegistryKafkaSerializer;
import com.azure.core.credential.AccessToken;
import com.azure.core.http.HttpHeaders;
import com.azure.core.http.HttpRequest;
import com.azure.core.http.HttpResponse;
import com.azure.data.schemaregistry.SchemaRegistryAsyncClient;
import com.azure.data.schemaregistry.SchemaRegistryClientBuilder;
import com.azure.data.schemaregistry.apacheavro.SchemaRegistryApacheAvroSerializerBuilder;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.microsoft.azure.schemaregistry.kafka.avro.KafkaAvroSerializer;
import io.apicurio.registry.resolver.ParsedSchemaImpl;
import io.apicurio.registry.resolver.SchemaLookupResult;
import io.apicurio.registry.resolver.SchemaResolver;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import java.lang.reflect.Field;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;

public class Framings {
  private static final String TOPIC = "conversions";
  private static final UUID VERSION = UUID.fromString("b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63");
  private static final long GLOBAL_ID = 0x01020305L;
  private static final long CONTENT_ID = 0x01020304L;
  private static final String AZURE_ID = "b7b4a7f09c964e4aa687fb5de9ef0c63";
  private static final Schema SCHEMA = new Schema.Parser().parse("""
      {"type": "record", "name": "Order", "namespace": "com.shop", "doc": "not in the canonical form",
       "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": ["null", "double"], "default": null}]}""");
  private static final ArrayNode MADE = new ObjectMapper().createArrayNode();

  public static void main(String[] arguments) throws Exception {
    GenericRecord event = new GenericData.Record(SCHEMA);
    event.put("name", "Summer sale");
    event.put("value", 0.99);

    for (String compression : new String[] {"NONE", "ZLIB"}) {
      Map<String, Object> config = new HashMap<>();
      config.put("region", "eu-central-1");
      config.put("dataFormat", "AVRO");
      config.put("compression", compression);
      StaticCredentialsProvider nobody = StaticCredentialsProvider.create(AwsBasicCredentials.create("id", "secret"));
      GlueSchemaRegistryKafkaSerializer glue = new GlueSchemaRegistryKafkaSerializer(nobody, VERSION, config);
      glue.configure(config, false);
      add("glue " + compression.toLowerCase(), VERSION.toString(), new RecordHeaders(), glue.serialize(TOPIC, event));
    }

    String legacy = "io.apicurio.registry.serde.Legacy8ByteIdHandler";
    apicurio("apicurio prefix, contentId", CONTENT_ID, event, Map.of());
    apicurio("apicurio prefix, 8 bytes, globalId", GLOBAL_ID, event,
        Map.of("apicurio.registry.id-handler", legacy, "apicurio.registry.use-id", "globalId"));
    apicurio("apicurio header, contentId", CONTENT_ID, event, Map.of("apicurio.registry.headers.enabled", "true"));
    apicurio("apicurio header, globalId", GLOBAL_ID, event,
        Map.of("apicurio.registry.headers.enabled", "true", "apicurio.registry.use-id", "globalId"));
    apicurio("apicurio header, JSON", CONTENT_ID, event,
        Map.of("apicurio.registry.headers.enabled", "true", "apicurio.registry.avro.encoding", "JSON"));

    azure(event);

    ByteBuffer single = new BinaryMessageEncoder<GenericRecord>(GenericData.get(), SCHEMA).encode(event);
    byte[] value = new byte[single.remaining()];
    single.get(value);
    add("single-object", null, new RecordHeaders(), value);

    System.out.println(MADE.toPrettyString());
    System.exit(0); // the vendors' clients leave threads behind
  }

  private static void apicurio(String name, long id, GenericRecord event, Map<String, Object> config) {
    SchemaLookupResult<Schema> found = SchemaLookupResult.<Schema>builder()
        .parsedSchema(new ParsedSchemaImpl<Schema>().setParsedSchema(SCHEMA)
            .setRawSchema(SCHEMA.toString().getBytes(StandardCharsets.UTF_8)))
        .globalId(GLOBAL_ID).contentId(CONTENT_ID).artifactId(TOPIC + "-value").build();
    @SuppressWarnings("unchecked")
    SchemaResolver<Schema, GenericRecord> resolver = (SchemaResolver<Schema, GenericRecord>) Proxy.newProxyInstance(
        Framings.class.getClassLoader(), new Class<?>[] {SchemaResolver.class},
        (proxy, method, given) -> method.getName().equals("resolveSchema") ? found : null);
    AvroKafkaSerializer<GenericRecord> serializer = new AvroKafkaSerializer<>(resolver);
    serializer.configure(config, false);
    Headers headers = new RecordHeaders();
    add(name, Long.toString(id), headers, serializer.serialize(TOPIC, headers, event));
  }

  private static void azure(GenericRecord event) throws Exception {
    SchemaRegistryAsyncClient client = new SchemaRegistryClientBuilder()
        .fullyQualifiedNamespace("example.servicebus.windows.net")
        .credential(request -> Mono.just(new AccessToken("token", OffsetDateTime.MAX)))
        .httpClient(request -> Mono.just(new Registered(request)))
        .buildAsyncClient();
    KafkaAvroSerializer<GenericRecord> serializer = new KafkaAvroSerializer<>();
    Field inner = KafkaAvroSerializer.class.getDeclaredField("serializer"); // configure() would make one that asks Azure
    inner.setAccessible(true);
    inner.set(serializer, new SchemaRegistryApacheAvroSerializerBuilder()
        .schemaRegistryClient(client).schemaGroup("shop").autoRegisterSchemas(true).buildSerializer());
    Headers headers = new RecordHeaders();
    byte[] value = serializer.serialize(TOPIC, headers, event);
    add("azure", AZURE_ID, headers, value);
  }

  /** What Azure answers to a schema that is registered. */
  private static final class Registered extends HttpResponse {
    private Registered(HttpRequest request) {
      super(request);
    }

    @Override public int getStatusCode() {
      return 204;
    }

    @Override public String getHeaderValue(String name) {
      return getHeaders().getValue(name);
    }

    @Override public HttpHeaders getHeaders() {
      return new HttpHeaders(Map.of("Schema-Id", AZURE_ID, "Schema-Group-Name", "shop", "Schema-Name", "com.shop.Order",
          "Schema-Version", "1", "Location", "https://example.servicebus.windows.net"));
    }

    @Override public Flux<ByteBuffer> getBody() {
      return Flux.empty();
    }

    @Override public Mono<byte[]> getBodyAsByteArray() {
      return Mono.just(new byte[0]);
    }

    @Override public Mono<String> getBodyAsString() {
      return Mono.just("");
    }

    @Override public Mono<String> getBodyAsString(Charset charset) {
      return Mono.just("");
    }
  }

  private static void add(String name, String id, Headers headers, byte[] value) {
    ObjectNode made = MADE.addObject();
    made.put("framing", name);
    made.put("id", id);
    ArrayNode names = made.putArray("headers");
    for (Header header : headers) {
      names.addArray().add(header.key()).add(HexFormat.of().formatHex(header.value()));
    }
    made.put("value", HexFormat.of().formatHex(value));
  }
}
