import createClient, { type Client } from "openapi-fetch";
import type { paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";

/** A typed client of a GeoBento server, with the key that it wants, if any. */
export function geobento(baseUrl: string, apiKey?: string): Client<paths> {
  return createClient<paths>({
    baseUrl,
    ...(apiKey === undefined ? {} : { headers: { Authorization: `Bearer ${apiKey}` } }),
  });
}

/** The body serializer of requests with files: `{ body, bodySerializer: form }`. */
export function form(body: object): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(body)) {
    const parts: unknown[] = name === "images" || name === "classes" ? value : [value];
    for (const part of parts) {
      if (part === undefined || part === null) continue;
      const isText = typeof part === "string" || part instanceof Blob;
      data.append(name, isText ? part : JSON.stringify(part));
    }
  }
  return data;
}
