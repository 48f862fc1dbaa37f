"""`python -m tf_facegcn`, the same as the console script `facegcn`."""

from tf_facegcn.cli import main

if __name__ == "__main__":
    main()
