// Writes submission.json: typed-data digests and signatures of our Submission by ethers, another language's library.
// Run: node tests/vectors/make_submission.mjs > tests/vectors/submission.json
import { Wallet, TypedDataEncoder, sha256, toUtf8Bytes } from "ethers";

const types = {
  Submission: [
    { name: "networkId", type: "bytes32" }, { name: "contributor", type: "address" },
    { name: "nonce", type: "bytes32" }, { name: "expiry", type: "uint64" },
    { name: "a", type: "Part" }, { name: "b", type: "Part" },
    { name: "license", type: "string" }, { name: "capturedAt", type: "uint64" },
    { name: "client", type: "string" }, { name: "metaHash", type: "bytes32" }, { name: "refs", type: "bytes32[]" },
  ],
  Part: [
    { name: "modality", type: "string" }, { name: "mediaType", type: "string" },
    { name: "size", type: "uint64" }, { name: "sha256", type: "bytes32" },
  ],
};
const hash = (text) => sha256(toUtf8Bytes(text));
const vectors = [];
for (let i = 0; i < 24; i++) {
  const wallet = new Wallet(hash(`curiosity test key ${i}`));
  const domain = {
    name: "Curiosity", version: "1", chainId: [1, 31337, 8453, 2 ** 40][i % 4],
    verifyingContract: "0x" + hash(`contract ${i}`).slice(2, 42),
  };
  const part = (kind, type, text) => ({ modality: kind, mediaType: type, size: toUtf8Bytes(text).length, sha256: hash(text) });
  const message = {
    networkId: hash(`network ${i}`), contributor: wallet.address, nonce: hash(`nonce ${i}`),
    expiry: i === 0 ? 0n : i === 1 ? 2n ** 64n - 1n : BigInt(1_700_000_000 + i),
    a: part("image", "image/png", `picture ${i}`), b: part("text", "text/plain", `Grüße ${i} 🐈`),
    license: i % 2 ? "CC-BY-4.0" : "", capturedAt: BigInt(i * 1000), client: `test/${i} ünïcode`,
    metaHash: hash(`meta ${i}`), refs: Array.from({ length: i % 4 }, (_, k) => hash(`ref ${i} ${k}`)),
  };
  vectors.push({
    private_key: wallet.privateKey, chain_id: domain.chainId, verifying_contract: domain.verifyingContract,
    message: JSON.parse(JSON.stringify(message, (_, v) => (typeof v === "bigint" ? v.toString() : v))),
    digest: TypedDataEncoder.hash(domain, types, message),
    signature: await wallet.signTypedData(domain, types, message),
  });
}
console.log(JSON.stringify(vectors, null, 1));
