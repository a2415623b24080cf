// Holds messages against the AsyncAPI document and the schemas that it names, with other people's validators.
//
// node validate.mjs FOLDER [MESSAGES]: FOLDER holds asyncapi.json and what it refers to; MESSAGES has one JSON object with `topic`
// and `payload` a line. Prints what is wrong, and ends with 1 if anything is.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Parser, fromFile } from "@asyncapi/parser";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { CloudEvent } from "cloudevents";

const [folder, messages] = process.argv.slice(2);
const wrong = [];

const { diagnostics } = await fromFile(new Parser(), join(folder, "asyncapi.json")).parse();
for (const { severity, message, path } of diagnostics) {
  if (severity < 2) wrong.push(`asyncapi.json: ${path.join("/")}: ${message}`);
}

const read = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const doc = read("asyncapi.json");
const resolve = (reference) => reference.slice(2).split("/").reduce((at, key) => at[key], doc);

// A consumer lets unknown fields pass. Here they are mistakes: somebody added a field and did not describe it.
const closed = (schema) => {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  if (copy.type === "object" && copy.properties && !("additionalProperties" in copy)) copy.unevaluatedProperties = false;
  return copy;
};
const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false, allErrors: true });
addFormats(ajv);

const channels = Object.entries(doc.channels).map(([name, channel]) => ({
  name,
  pattern: new RegExp(`^${channel.address.replace(/\{\w+\}/g, "[^/]+")}$`),
  validators: Object.values(channel.messages).map((reference) => {
    const message = resolve(reference.$ref);
    const { $ref, items, ...own } = message.payload;
    const schema = closed(read($ref ?? items.$ref));
    const validate = ajv.getSchema(schema.$id) ?? ajv.compile(schema);
    return { message, validate: $ref ? validate : ajv.compile({ ...own, items: { $ref: schema.$id } }) };
  }),
}));

const seen = {};
if (messages) {
  for (const line of readFileSync(messages, "utf8").split("\n").filter(Boolean)) {
    const { topic, payload } = JSON.parse(line);
    const channel = channels.find((one) => one.pattern.test(topic));
    if (!channel) {
      wrong.push(`${topic}: no such channel in asyncapi.json`);
      continue;
    }
    seen[channel.name] = (seen[channel.name] ?? 0) + 1;
    const failures = channel.validators.map(({ message, validate }) => {
      if (!validate(payload)) return validate.errors.map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
      if (!message.contentType?.startsWith("application/cloudevents")) return [];
      try {
        [payload].flat().forEach((event) => new CloudEvent(event));
        return [];
      } catch (error) {
        return [`CloudEvents: ${error.message} ${JSON.stringify(error.errors ?? "")}`];
      }
    });
    if (failures.every((errors) => errors.length > 0)) wrong.push(`${topic}: ${failures.flat().join("; ")}\n  ${JSON.stringify(payload)}`);
  }
}
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log(JSON.stringify(seen));
