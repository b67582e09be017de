// Asks a live server everything that a user of the client would; prints what came of it as JSON.
import { readFileSync } from "node:fs";
import { type components, form, geobento } from "./index.js";

const [, , url, key, image] = process.argv;
if (url === undefined || key === undefined || image === undefined) throw new Error("arguments");
const client = geobento(url, key);
const file = new Blob([readFileSync(image)], { type: "image/jpeg" });
type Entry = components["schemas"]["EmbeddingResponse"]["embeddings"][number];
type Region = components["schemas"]["PointBuffer"];

function shape(entry: Entry | undefined): number[] | string {
  if (entry === undefined) return "nothing";
  return "error" in entry ? entry.error.type : entry.shape;
}

const region: Region = { type: "PointBuffer", lon: 34.066, lat: -3.401, buffer_m: 500 };
const temporal = { mode: "range", start: "2023-06-01", end: "2023-07-01" } as const;
const found: Record<string, unknown> = {};

const uploaded = await client.POST("/image_embedding", {
  body: { model: "mosaiks", images: [file], encoding: "base64" },
  bodySerializer: form,
});
found["image"] = uploaded.data?.embeddings.map(shape);

const pooled = await client.POST("/geo_embedding", {
  body: { model: "mosaiks", spatial: region, temporal },
});
found["pooled"] = pooled.data?.embeddings.map(shape);

const grid = await client.POST("/geo_embedding", {
  body: { model: "mosaiks", spatial: region, temporal, output: { mode: "grid" } },
});
const [first] = grid.data?.embeddings ?? [];
found["grid"] = shape(first);
found["grid_crs"] = first !== undefined && "meta" in first ? first.meta.crs : null;

const batch = await client.POST("/geo_embedding", {
  body: { model: "mosaiks", spatials: [region, { ...region, lat: 60 }], temporal },
});
found["batch"] = batch.data?.embeddings.map(shape);

const failed = await client.GET("/models/{model_id}", { params: { path: { model_id: "nope" } } });
found["error"] = [failed.response.status, failed.error?.error.type];

const refused = await geobento(url).GET("/models");
found["without_key"] = [refused.response.status, refused.error?.error.type];

console.log(JSON.stringify(found));
