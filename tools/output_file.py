"""Output files that appear whole or not at all, and never in the place of an input."""

import contextlib
import os


class Overwrites(Exception):
    """The output is one of the inputs: a usage error."""


def _partial(path):
    folder, name = os.path.split(os.fspath(path))
    return os.path.join(folder, f".{name}.part")


def refuse_inputs(output, *inputs):
    """Overwrites when writing `output` would replace one of `inputs`, by whatever name; None stands for no input."""
    for source in filter(None, inputs):
        for target in (output, _partial(output)):
            try:
                same = os.path.samefile(source, target)
            except (OSError, ValueError):  # one of the two does not exist, or cannot
                continue
            if same:
                raise Overwrites(f"-o {output} would overwrite an input file; choose another name")


@contextlib.contextmanager
def whole_file(path):
    """A binary stream to what becomes `path` when the block ends, and is removed when it fails."""
    partial = _partial(path)
    try:
        with open(partial, "wb") as stream:
            yield stream
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
