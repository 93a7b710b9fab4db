"""`python -m bowline_worker`: the same as `bowline-worker`."""

from bowline_worker.main import main

main()
