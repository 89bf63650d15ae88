"""melv beside other tools, on the same disks in one run: see benches/compare."""
