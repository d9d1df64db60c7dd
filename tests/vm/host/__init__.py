"""The machine's side of the VM tests: a kernel, an initial file system, and the guest that runs them."""
