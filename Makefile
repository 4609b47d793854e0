# make demo    install into .venv, then denoise the sample data: pictures and scores in demo/
# make test    the whole test suite, on a screen in memory   (make test ARGS="-k noise")
# make lint    style and types
# make test-pyside   the tests that open a window, on PySide6 instead of PyQt6
# make clean   delete what make made
#
# Needs Python 3.11 or newer; PYTHON=/path/to/python chooses one.

.PHONY: demo test test-pyside lint clean

ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
done)
endif

# What a napari window with software OpenGL needs on a Debian machine without a screen.
SCREEN := xvfb xauth libgl1 libegl1 libglib2.0-0 libfontconfig1 libdbus-1-3 libxkbcommon-x11-0 \
	libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0
ifeq ($(shell uname), Linux)
XVFB := xvfb-run -a
endif

demo: .venv/installed
	.venv/bin/napari-n2n demo -o demo

test: .venv/installed-test
	scripts/debian-packages $(SCREEN)
	$(XVFB) .venv/bin/python -m pytest $(ARGS)

test-pyside: .venv-pyside/installed
	scripts/debian-packages $(SCREEN)
	QT_API=pyside6 PYTEST_QT_API=pyside6 $(XVFB) .venv-pyside/bin/python -m pytest \
		$$(grep -rl make_napari_viewer tests --include='test_*.py') $(ARGS)

lint: .venv/installed-test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

clean:
	rm -rf .venv .venv-pyside build dist demo .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f src/napari_n2n/napari.yaml

# The two files below .venv are stamps: pip runs again only when a requirement changed.
.venv/installed: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/python -m pip install -c constraints.txt -e ".[all]"
	touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/python -m pip install -c constraints.txt -e ".[all,test]"
	touch $@ .venv/installed

# The other binding is all that this one has of its own: the rest it takes from .venv.
.venv-pyside/installed: .venv/installed-test
	.venv/bin/python -m venv .venv-pyside
	.venv-pyside/bin/python -m pip install -c constraints.txt PySide6-Essentials
	.venv/bin/python -c 'import sysconfig; \
		print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$(.venv-pyside/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth
	touch $@

# Debian keeps what `python3 -m venv` needs in a package of its own.
.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "napari-n2n needs Python 3.11 or newer; none was found." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/debian-packages \
		$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	$(PYTHON) -m venv .venv
