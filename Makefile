# make demo    install into .venv, then denoise the sample data: pictures and scores in demo/
# make test    run all tests, on a virtual screen   (make test ARGS="-k noise" for some)
# make test-pyside   run the tests that open a window, with PySide6 instead of PyQt6
# make test-lowest    run the fast tests without windows, with the oldest supported dependencies
# make lint    check style and types
# make docs    build the documentation site into site/
# make clean   delete everything that make created
#
# Needs Python 3.11 or newer; PYTHON=/path/to/python chooses one.

.PHONY: demo test test-pyside test-lowest lint docs clean

ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
done)
endif

ifeq ($(OS), Windows_NT)
BIN := .venv/Scripts
EXE := .exe
else
BIN := .venv/bin
endif

# What a napari window with software OpenGL needs on a Debian machine without a screen.
SCREEN := xvfb xauth libgl1 libegl1 libglib2.0-0 libfontconfig1 libdbus-1-3 libxkbcommon-x11-0 \
	libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0

# Each test process has its own virtual screen (pytest-xvfb), so that windows do not compete for the
# keyboard focus, and one compute thread: two processes with two threads each are slower on two cores.
PYTEST := -m pytest -n auto --maxprocesses 4 --dist worksteal

# The torch of PyPI is for CUDA on Linux, and 3 GB; TORCH= takes it.
TORCH := --torch-backend cpu

demo: .venv/installed
	$(BIN)/napari-n2n demo -o demo

test: .venv/installed-test
	scripts/debian-packages $(SCREEN)
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) $(ARGS)

test-pyside: .venv-pyside/installed
	scripts/debian-packages $(SCREEN)
	OMP_NUM_THREADS=1 QT_API=pyside6 PYTEST_QT_API=pyside6 .venv-pyside/bin/python $(PYTEST) \
		$$(grep -rl make_napari_viewer tests --include='test_*.py') $(ARGS)

test-lowest: .venv-lowest/installed
	OMP_NUM_THREADS=1 .venv-lowest/bin/python $(PYTEST) tests/io tests/pair tests/stats tests/model \
		tests/simulate tests/noise tests/cli tests/hostile/test_command_line.py \
		tests/hostile/test_reading.py $(ARGS)

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: .venv/installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .venv-pyside .venv-lowest build dist demo site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f src/napari_n2n/napari.yaml

# The installed* files are stamps: pip runs again only when a requirement has changed.
.venv/installed: pyproject.toml constraints.txt | $(BIN)/pip$(EXE)
	$(BIN)/python -m pip install -c constraints.txt -e ".[all]"
	touch $@

.venv/installed-test: pyproject.toml constraints.txt | $(BIN)/pip$(EXE)
	$(BIN)/python -m pip install -c constraints.txt -e ".[all,test,docs]"
	touch $@ .venv/installed

# Contains only PySide6; every other package is found in .venv.
.venv-pyside/installed: .venv/installed-test
	$(BIN)/python -m venv .venv-pyside
	.venv-pyside/bin/python -m pip install -c constraints.txt PySide6-Essentials
	$(BIN)/python -c 'import sysconfig; \
		print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$(.venv-pyside/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth
	touch $@

.venv-lowest/installed: pyproject.toml | $(BIN)/pip$(EXE)
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install uv
	.venv-lowest/bin/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct \
		$(TORCH) -e ".[all,test]"
	touch $@

# On Debian, `python3 -m venv` needs a separate package.
$(BIN)/pip$(EXE):
	@test -n "$(PYTHON)" || { echo "napari-n2n needs Python 3.11 or newer; none was found." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/debian-packages \
		$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	$(PYTHON) -m venv .venv
