"""`mnbench build`."""

from pathlib import Path
from typing import Any

import click

from mnbench.cli.options import echo_json, format_option, sources, variant_options
from mnbench.errors import FileError


@click.command(epilog="\b\nExample:\n  mnbench build v1 --alpha 0.5 --res 160\n  mnbench build v1 -o v1.onnx --keep-bn")
@variant_options
@click.option("-o", "--output-file", "path", type=click.Path(path_type=Path), help="Default: v1-a0.5-r160.onnx, here.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the random weights.")
@click.option("--opset", default=17, show_default=True, type=int, help="Version of the ONNX operator set.")
@click.option("--no-simplify", is_flag=True, help="Leave the plain graph.")
@click.option("--keep-bn", is_flag=True, help="Keep batch normalization as nodes of its own.")
@format_option()
def command(
    *, path: Path | None, seed: int, opset: int, no_simplify: bool, keep_bn: bool, output: str, **selection: Any
) -> None:
    """Build and simplify ONNX models.

    GRAPH is a name, a path to a .toml table, or an .onnx model to simplify. Weights are seeded random numbers. The
    simplified graph is proved to compute
    what the plain one does, and passes ONNX's full checker.
    """
    chosen = sources(**selection)
    if not chosen:
        raise click.UsageError("name a graph or an .onnx file: mnbench build v1")
    if path and len(chosen) > 1:
        raise click.UsageError(f"-o names one file, and this builds {len(chosen)}: leave it out")
    if path and path.is_dir():
        raise FileError(f"{path}: is a folder", hint="name the file to write in it")
    from mnbench import files
    from mnbench.model.make import make
    from mnbench.show import builds
    from mnbench.show.progress import progress

    built: list[builds.Built] = []
    with progress("building", len(chosen)) as step:
        for source in chosen:
            made = make(source, seed=seed, opset=opset, simplified=not no_simplify, keep_bn=keep_bn)
            target = path or Path(f"{source.name}.onnx")
            if target.exists() and any(
                target.samefile(graph) for graph in selection["graphs"] if graph.endswith(".onnx")
            ):
                raise FileError(f"{target}: is the model that was read", hint="name another file with -o")
            files.write(target, made.model.data, durable=False)
            built.append(builds.Built(path=target, made=made))
            step()
    if output == "json":
        payloads = [one.payload() for one in built]
        echo_json(payloads[0] if len(payloads) == 1 else {"models": payloads})
        return
    from mnbench.show.render import echo

    echo(builds.build_table(built), output)
