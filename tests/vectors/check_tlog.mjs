// Checks tlog.json and tlog_published.json with nothing of ours: Node's own SHA-256 and Ed25519, and the C2SP texts.
// Prints {"checked": [what held], "refused": [what was changed and did not hold]}, or ends with an error.
// Run through tests/test_tlog_vectors.py.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
const leafHash = (leaf) => sha256([0], leaf);
const nodeHash = (left, right) => sha256([1], left, right);
const demand = (holds, what) => { if (!holds) throw new Error(what); };
const read = (name) => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));

function parseKey(vkey) {
  const [name, id, base64] = [vkey.split("+")[0], vkey.split("+")[1], vkey.split("+").slice(2).join("+")];
  const data = Buffer.from(base64, "base64");
  demand(sha256(name, "\n", data).subarray(0, 4).toString("hex") === id, `the id of ${vkey}`);
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), data.subarray(1)]);
  return { name, id, type: data[0], key: createPublicKey({ key: spki, format: "der", type: "spki" }) };
}

// The keys whose signature the note carries.
function signers(note, vkeys) {
  const cut = note.lastIndexOf("\n\n");
  const text = note.slice(0, cut + 1);
  const found = new Set();
  for (const line of note.slice(cut + 2).trimEnd().split("\n")) {
    const [dash, name, base64] = line.split(" ");
    demand(dash === "\u2014", line);
    const data = Buffer.from(base64, "base64");
    for (const key of vkeys.map(parseKey)) {
      if (key.name !== name || key.id !== data.subarray(0, 4).toString("hex")) continue;
      const message = key.type === 4 ? `cosignature/v1\ntime ${data.readBigUInt64BE(4)}\n${text}` : text;
      if (!verify(null, Buffer.from(message), key.key, data.subarray(key.type === 4 ? 12 : 4))) return new Set();
      found.add(key.name);
    }
  }
  return found;
}

function rootOfPath(hash, index, size, path) {
  if (size === 1) { demand(path.length === 0, "a path too long"); return hash; }
  let half = 1;
  while (half * 2 < size) half *= 2;
  demand(path.length > 0, "a path too short");
  const [below, last] = [path.slice(0, -1), path[path.length - 1]];
  return index < half
    ? nodeHash(rootOfPath(hash, index, half, below), last)
    : nodeHash(last, rootOfPath(hash, index - half, size - half, below));
}

function provesLeaf(text, leaf, ours) {
  const [top, ...rest] = text.split("\n\n");
  const note = rest.join("\n\n");
  const lines = top.split("\n").filter((line) => !line.startsWith("extra "));
  demand(lines[0] === "c2sp.org/tlog-proof@v1", lines[0]);
  const index = Number(lines[1].slice("index ".length));
  if (!signers(note, [ours.keys.log_vkey]).size) return false;
  if (signers(note, ours.keys.witness_vkeys).size < 2) return false;
  const [origin, size, root] = note.split("\n");
  if (origin !== ours.origin) return false;
  const path = lines.slice(2).map((line) => Buffer.from(line, "base64"));
  return rootOfPath(leafHash(leaf), index, Number(size), path).toString("base64") === root;
}

const [ours, published] = [read("tlog.json"), read("tlog_published.json")];
const checked = [], refused = [];

for (const { source, vkeys, note } of published.notes) {
  demand(signers(note, vkeys).size === 1, source);
  checked.push(source);
}
const { index, text } = ours.proof;
demand(provesLeaf(text, `leaf ${index}`, ours), "the proof");
checked.push("proof");
for (const [what, changed, leaf] of [
  ["leaf", text, "leaf 138"],
  ["index", text.replace("index 137", "index 138"), "leaf 137"],
  ["size", text.replace("\n300\n", "\n301\n"), "leaf 137"],
]) {
  let holds = false;
  try { holds = provesLeaf(changed, leaf, ours); } catch { /* a path of another length */ }
  demand(!holds, `a changed ${what} holds`);
  refused.push(what);
}

// The last bundle hashes to the last partial tile; that and the level above make up the root.
const bundle = Buffer.from(ours.files["tile/entries/001.p/44"], "hex");
const hashes = [];
for (let at = 0; at < bundle.length; ) {
  const end = at + 2 + bundle.readUInt16BE(at);
  hashes.push(leafHash(bundle.subarray(at + 2, end)));
  at = end;
}
demand(Buffer.concat(hashes).toString("hex") === ours.files["tile/0/001.p/44"], "the bundle's hashes");
const rootOf = (nodes) => {
  if (nodes.length === 1) return nodes[0];
  let half = 1;
  while (half * 2 < nodes.length) half *= 2;
  return nodeHash(rootOf(nodes.slice(0, half)), rootOf(nodes.slice(half)));
};
const whole = nodeHash(Buffer.from(ours.files["tile/1/000.p/1"], "hex"), rootOf(hashes));
demand(whole.toString("base64") === ours.tree.roots["300"], "the root from tiles");
checked.push("tiles");
process.stdout.write(JSON.stringify({ checked, refused }) + "\n");
