#!/usr/bin/env node
// npm's compiler behind the command line of the native one, as far as forge, halmos and slither use it.
// `--version` and `--standard-json`; paths are resolved by the caller, which hands over every source's text.
"use strict";
const fs = require("node:fs");
const solc = require("solc");

if (process.argv.includes("--version")) {
  const version = solc.version().replace(/\.Emscripten.*$/, "");
  fs.writeSync(1, `solc, the solidity compiler commandline interface\nVersion: ${version}.Linux.g++\n`);
} else {
  // Until the end of the input, whatever the size of the pipe.
  const chunks = [];
  process.stdin.on("data", (chunk) => chunks.push(chunk));
  process.stdin.on("end", () => {
    const answer = Buffer.from(solc.compile(Buffer.concat(chunks).toString("utf8")) + "\n");
    for (let sent = 0; sent < answer.length; ) {
      try {
        sent += fs.writeSync(1, answer, sent);
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
      }
    }
  });
}
