// Reads DOT drawings from standard input (a JSON list of texts) and prints what Graphviz makes of each.
import { readFileSync } from "node:fs";
import { instance } from "@viz-js/viz";

const viz = await instance();
const answers = JSON.parse(readFileSync(0, "utf8")).map((text) => {
  const done = viz.render(text, { format: "json" });
  if (done.status !== "success") return { error: done.errors }; // warnings are about the width of letters
  const drawn = JSON.parse(done.output);
  const label = (one) => one.label;
  const ends = (edge) => [drawn.objects[edge.tail].label, drawn.objects[edge.head].label, edge.label];
  return { boxes: (drawn.objects ?? []).map(label), arrows: (drawn.edges ?? []).map(ends) };
});
console.log(JSON.stringify(answers));
