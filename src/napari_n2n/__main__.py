"""Run the command line: ``python -m napari_n2n``."""

from napari_n2n.cli import main

if __name__ == "__main__":
    main()
