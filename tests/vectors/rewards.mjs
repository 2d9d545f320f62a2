// Reads trees as JSON lists of [account, wei] from the file named on the command line and prints, for each,
// the root and the proofs in the order of its leaves, by OpenZeppelin's own library.
// Run through tests/test_protocol_rewards.py, which makes the leaves and compares.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { StandardMerkleTree } = createRequire(import.meta.url)("@openzeppelin/merkle-tree");
const trees = JSON.parse(readFileSync(process.argv[2], "utf8"));
const answers = trees.map((leaves) => {
  const tree = StandardMerkleTree.of(leaves, ["address", "uint256"]);
  return { leaves, root: tree.root, proofs: leaves.map((leaf) => tree.getProof(leaf)) };
});
// Written at once and to the end, also where the output is a pipe.
process.stdout.write(JSON.stringify(answers, null, 1) + "\n");
