// Writes values of schemas with Apache Avro for Java: from a JSON array of arrays of schemas on standard input, each written
// after those it refers to, to a JSON array on standard output. An entry is null where Java's parser refuses the last of
// them, else has what was written in hexadecimal digits ("written") and what it is ("values").
//
// The parser is set as Confluent's registry sets it for schemas that it has already (AvroSchema.getParser).

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.avro.NameValidator;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericFixed;
import org.apache.avro.generic.IndexedRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;

public class Values {
  private static final int VALUES = 3;
  private static final int DEEP = 6;
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
  private static final Random DICE = new Random(20261129);

  public static void main(String[] arguments) throws Exception {
    ObjectMapper mapper = new ObjectMapper();
    List<String> made = new ArrayList<>();
    for (JsonNode definitions : mapper.readTree(System.in)) {
      Schema schema;
      try {
        Schema.Parser parser = new Schema.Parser(NameValidator.NO_VALIDATION);
        parser.setValidateDefaults(false);
        schema = null;
        for (JsonNode definition : definitions) {
          schema = parser.parse(definition.toString());
        }
      } catch (RuntimeException refused) {
        made.add("null");
        continue;
      }
      made.add(mapper.writeValueAsString(written(schema)));
    }
    System.out.write(("[\n" + String.join(",\n", made) + "\n]\n").getBytes("UTF-8"));
    System.out.flush();
  }

  private static ObjectNode written(Schema schema) throws Exception {
    ObjectNode entry = JSON.objectNode();
    entry.putArray("written");
    entry.putArray("values");
    for (int number = 0; number < VALUES; number++) {
      Object value;
      try {
        value = value(schema, 0);
      } catch (StackOverflowError noEnd) {
        continue; // a record that holds itself has no value
      }
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      // Blocks of a few bytes, so that arrays and maps have several, with their sizes.
      BinaryEncoder encoder = number == 2
          ? new EncoderFactory().configureBlockSize(64).blockingBinaryEncoder(bytes, null)
          : EncoderFactory.get().binaryEncoder(bytes, null);
      new GenericDatumWriter<Object>(schema).write(value, encoder);
      encoder.flush();
      entry.withArray("written").add(HexFormat.of().formatHex(bytes.toByteArray()));
      entry.withArray("values").add(json(schema, value));
    }
    return entry;
  }

  private static Object value(Schema schema, int depth) {
    switch (schema.getType()) {
      case RECORD:
        GenericData.Record record = new GenericData.Record(schema);
        schema.getFields().forEach(field -> record.put(field.pos(), value(field.schema(), depth + 1)));
        return record;
      case ENUM:
        List<String> symbols = schema.getEnumSymbols();
        return new GenericData.EnumSymbol(schema, symbols.get(DICE.nextInt(symbols.size())));
      case FIXED:
        return new GenericData.Fixed(schema, bytes(schema.getFixedSize()));
      case ARRAY:
        List<Object> items = new ArrayList<>();
        for (int number = length(depth); number > 0; number--) {
          items.add(value(schema.getElementType(), depth + 1));
        }
        return items;
      case MAP:
        Map<String, Object> parts = new LinkedHashMap<>();
        for (int number = length(depth); number > 0; number--) {
          parts.put(text() + number, value(schema.getValueType(), depth + 1));
        }
        return parts;
      case UNION:
        List<Schema> branches = schema.getTypes();
        // The first branch ends what could go on for ever.
        return value(branches.get(depth > DEEP ? 0 : DICE.nextInt(branches.size())), depth + 1);
      case STRING:
        return text();
      case BYTES:
        return ByteBuffer.wrap(bytes(DICE.nextInt(5)));
      case INT:
        return DICE.nextInt();
      case LONG:
        return DICE.nextLong() >> DICE.nextInt(64);
      case FLOAT:
        return (float) DICE.nextInt(1000) / 8;
      case DOUBLE:
        return (double) DICE.nextLong() / 8;
      case BOOLEAN:
        return DICE.nextBoolean();
      default:
        return null;
    }
  }

  private static int length(int depth) {
    return depth > DEEP ? 0 : DICE.nextInt(4);
  }

  private static byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    DICE.nextBytes(bytes);
    return bytes;
  }

  private static String text() {
    String letters = "aZ9 äß\u0000東\ud83d\ude00";
    StringBuilder text = new StringBuilder();
    for (int number = DICE.nextInt(6); number > 0; number--) {
      text.appendCodePoint(letters.codePointAt(letters.offsetByCodePoints(0, DICE.nextInt(letters.codePointCount(0, letters.length())))));
    }
    return text.toString();
  }

  // Bytes are an object with one name that no field of the schemas has.
  private static JsonNode json(Schema schema, Object value) {
    if (value instanceof IndexedRecord record) {
      ObjectNode fields = JSON.objectNode();
      for (Schema.Field field : record.getSchema().getFields()) {
        fields.set(field.name(), json(field.schema(), record.get(field.pos())));
      }
      return fields;
    }
    if (value instanceof GenericFixed fixed) {
      return JSON.objectNode().put("bytes as hex", HexFormat.of().formatHex(fixed.bytes()));
    }
    if (value instanceof ByteBuffer bytes) {
      return JSON.objectNode().put("bytes as hex", HexFormat.of().formatHex(bytes.array()));
    }
    if (value instanceof List<?> items) {
      ArrayNode array = JSON.arrayNode();
      items.forEach(item -> array.add(json(null, item)));
      return array;
    }
    if (value instanceof Map<?, ?> parts) {
      ObjectNode object = JSON.objectNode();
      parts.forEach((name, part) -> object.set((String) name, json(null, part)));
      return object;
    }
    if (value == null) {
      return JSON.nullNode();
    }
    if (value instanceof Number || value instanceof Boolean) {
      return new ObjectMapper().valueToTree(value);
    }
    return JSON.textNode(value.toString());
  }
}
