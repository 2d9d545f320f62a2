"""The workshop of the Solidity contracts: build, deploy, test, mutate, audit, and a development chain."""
