// The types of all requests and answers: node generate.mjs openapi.json schema.d.ts
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [, , document, target] = process.argv;
const blob = ts.factory.createTypeReferenceNode("Blob");
const types = await openapiTS(JSON.parse(readFileSync(document, "utf8")), {
  defaultNonNullable: false,
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
writeFileSync(target, astToString(types));
