// Reads Mermaid drawings from standard input (a JSON list of texts) and prints what the parser says of each.
import { readFileSync } from "node:fs";
import { JSDOM } from "jsdom";

// the parser cleans its texts with the help of a browser's window
const { window } = new JSDOM("", { url: "http://localhost/" });
const missing = Object.getOwnPropertyNames(window).filter((name) => !(name in globalThis));
for (const name of missing) globalThis[name] = window[name];
const { default: mermaid } = await import("mermaid");

const answers = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    answers.push((await mermaid.parse(text)).diagramType);
  } catch (error) {
    answers.push(`error: ${error.message}`);
  }
}
console.log(JSON.stringify(answers));
