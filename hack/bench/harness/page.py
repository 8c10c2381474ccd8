"""The page of results: a table of aims and what was found, then each benchmark, with plots."""

import pathlib
from collections.abc import Callable, Mapping

from harness import plot

Spread = Mapping[str, float]
NAMES = {"resnet32": "ResNet-32", "mobilenetv2": "MobileNetV2 ×0.5"}


def write(results: Mapping, out: pathlib.Path) -> None:
    """Writes `performance.md`, and its plots into the folder `performance` beside it."""
    found = results["benchmarks"]
    plots = out / "performance"
    plots.mkdir(exist_ok=True)
    parts = [HEAD, aims(found)]
    sections: dict[str, Callable] = {
        "engine": engine,
        "int8": int8,
        "exits": exits,
        "training": training,
        "server": server,
        "batching": batching,
        "overload": overload,
        "standin": standin,
    }
    for name, section in sections.items():
        if name in found:
            parts += [section(found[name], plots), footer(found[name])]
    (out / "performance.md").write_text("\n\n".join(parts) + "\n")


HEAD = """# Performance

Made by `make bench` from [performance.json](performance.json); not edited by hand. [hack/bench](../hack/bench/README.md) says how to run it
and what is compared. Every ratio is of rounds in which both took turns on the same cores: a median, and in brackets the quartiles. Above 1
is in our favour."""


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def shown(spread: Spread, unit: str = "") -> str:
    return f"{number(spread['median'])}{unit} ({number(spread['q1'])}–{number(spread['q3'])})"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def footer(found: Mapping) -> str:
    machine = found["machine"]
    nice = ", real-time priority" if machine.get("real_time") else f", nice {machine['nice']}" if machine.get("nice") else ""
    missing = f" Missing: {'; '.join(found['missing'])}." if found["missing"] else ""
    return (
        f"*{found['mode']} mode, {machine['date']}, commit {machine['commit']}; {machine['cpu']} ({machine['family']}; {', '.join(machine['isa'])}), "
        f"{machine['cores']} cores{nice}; load average {found['load_before']:.1f} before and {found['load_after']:.1f} after.{missing}*"
    )


def worst(figures: list[Mapping], peers: tuple[str, ...], batch: int | None = None) -> tuple[float, float] | None:
    """Smallest and largest median ratio against any of `peers`; of a peer of several kinds, the fastest kind counts."""
    medians = []
    for figure in figures:
        if batch in (None, figure["batch"]):
            kinds = [entry["median"] for name, entry in figure["ratio"].items() if name in peers]
            medians += [min(kinds)] if kinds else []
    return (min(medians), max(medians)) if medians else None


def aims(found: Mapping) -> str:
    rows = []

    def add(what: str, aim: str, reached: str | None, holds: bool | None) -> None:
        verdict = {True: "yes", False: "**no**", None: "–"}[holds if reached else None]
        rows.append([what, aim, reached or "not measured", verdict])

    if figures := found.get("engine", {}).get("figures"):
        ort = worst(figures, ("onnxruntime",))
        add("main exit, batch 1 and 32, 1 and 2 threads, against onnxruntime", "≥ 1.0 everywhere, ≥ 1.2 somewhere", ort and f"{ort[0]:.2f} to {ort[1]:.2f}", ort and ort[0] >= 1 and ort[1] >= 1.2)
        for label, peers in (("PyTorch", ("PyTorch", "PyTorch, eager")), ("tract", ("tract",)), ("rten", ("rten",))):
            one = worst(figures, peers, 1)
            add(f"the same against {label}, batch 1", "≥ 2.0", one and f"{one[0]:.2f} to {one[1]:.2f}", one and one[0] >= 2)
        share = [figure["gflops"]["share"]["median"] for figure in figures if "gflops" in figure]
        add("share of the machine's sgemm peak", "reported", share and f"{min(share):.0%} to {max(share):.0%}" or None, None)
    if figures := found.get("int8", {}).get("figures"):
        for peer, label in (("onnxruntime", "onnxruntime's"), ("meanet, floats", "our floats")):
            medians = [figure["ratio"][peer]["median"] for figure in figures]
            add(f"main exit in 8 bits against {label}", "reported", f"{min(medians):.2f} to {max(medians):.2f}", None)
    if figures := found.get("exits", {}).get("figures"):
        for name, label in (("hard", "edge on its own"), ("thrifty", "edge on its own that may lose a point of accuracy"), ("offload", "edge with a cloud")):
            medians = [figure["ratio"][name]["median"] for figure in figures]
            add(f"MEANet with its exits against everything on every image, {label}", "≥ 1.5", f"{min(medians):.2f} to {max(medians):.2f}", min(medians) >= 1.5)
    if figures := found.get("training", {}).get("figures"):
        for backend, aim in (("engine", "≥ 1.0"), ("torch", "reported"), ("flex", "reported")):
            medians = [figure["ratio"][backend]["median"] for figure in figures if backend in figure["ratio"]]
            reached = f"{min(medians):.2f} to {max(medians):.2f}" if medians else None
            add(f"training of adaptive + extension, cached features, `--backend {backend}`, against PyTorch", aim, reached, None if aim == "reported" else bool(medians) and min(medians) >= 1)
    for figure in found.get("server", {}).get("figures", []):
        tier, ratio = figure["tier"], figure["ratio"]
        add(f"{tier}: throughput against MLServer with onnxruntime, {figure['clients']} clients", "≥ 5", shown(ratio["per_second"]), ratio["per_second"]["median"] >= 5)
        add(f"{tier}: p99 against MLServer", "≥ 5 (a fifth)", shown(ratio["p99_ms"]), ratio["p99_ms"]["median"] >= 5)
        add(f"{tier}: resident memory against MLServer", "≥ 5 (a fifth)", f"{figure['memory_ratio']:.1f}", figure["memory_ratio"] >= 5)
        add(f"{tier}: memory touched while serving, against MLServer", "reported", f"{figure['touched_ratio']:.1f}", None)
        first = figure["first_answer_ms"]["meanet"]
        add(f"{tier}: first answer after the start of the process", "≤ 300 ms", shown(first, " ms"), first["median"] <= 300)
    if figure := found.get("batching"):
        ratio = figure["ratio"]["per_second"]
        add("cloud batching at 32 clients against batch 1", "≥ 1.5", shown(ratio), ratio["median"] >= 1.5)
    overloads = found.get("overload", {})
    for figure in overloads.get("crowds", {}).values():
        name = f"overload at {overloads['times']} times capacity, {of_images(figure)}"
        add(f"{name}: goodput", "≥ 90 % of capacity", f"{figure['goodput']['median']:.0%}", figure["goodput"]["median"] >= 0.9)
        add(f"{name}: refused within", "5 ms", f"p50 {shown(figure['refused_p50_ms'])} ms, p95 {shown(figure['refused_p95_ms'])} ms, p99 {shown(figure['refused_p99_ms'])} ms", figure["refused_p99_ms"]["median"] <= 5)
        most = figure["most_mib"]["median"] / figure["before_mib"]["median"]
        add(f"{name}: memory at most, of that at capacity", "flat (within 10 %)", f"{most:.2f} times", most <= 1.1)
    return table(["", "Aim", "Found", "Reached"], rows)


def engine(found: Mapping, plots: pathlib.Path) -> str:
    figures = found["figures"]
    peers = list(dict.fromkeys(name for figure in figures for name in figure["ratio"]))
    rows, groups = [], []
    for figure in figures:
        case = case_of(figure)
        groups.append((case, figure["ratio"]))
        share = f"{figure['gflops']['share']['median']:.0%}" if "gflops" in figure else "–"
        rows.append([case, shown(figure["ms"]["meanet"]), *(shown(figure["ratio"][p]) if p in figure["ratio"] else "–" for p in peers), share, f"{figure['load']:.1f}"])
    plot.bars(plots / "engine.svg", "Main exit: time of each engine for ours", "median of interleaved rounds, line over quartiles; above 1, ours is faster", groups)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(figures[0]["versions"].items()) if name not in ("onnxruntime, norms", "PyTorch, eager"))
    return f"""## Engine

Time of other engines for ours, same weights ({found['weights']}) and images; logits agree within {max(f['difference'] for f in figures):.1g} of the largest. Ours
runs its {figures[0]['isa']} kernels. Peers get batch norms folded and pixels normalised; "norms": as exported, batch norms apart. "PyTorch" is compiled by its jit
and optimised for inference. The share is of the multiply-accumulates of the network's definition against an sgemm of 768³ in the same rounds; it can pass
100 %, since Winograd's convolution needs fewer. {versions}.

{table(["", "ours, ms a batch", *peers, "share of sgemm", "load"], rows)}

![Main exit against other engines](performance/engine.svg)"""


def case_of(figure: Mapping) -> str:
    return f"{NAMES[figure['network']]}, batch {figure['batch']}, {figure['threads']} thread{'s' if figure['threads'] > 1 else ''}"


def int8(found: Mapping, plots: pathlib.Path) -> str:
    figures = found["figures"]
    peers = list(figures[0]["ratio"])
    rows = [
        [case_of(figure), shown(figure["ms"]["meanet"]), *(shown(figure["ratio"][peer]) for peer in peers), *(f"{figure['difference'][peer]:.1%}" for peer in ("meanet", "onnxruntime")), f"{figure['load']:.1f}"]
        for figure in figures
    ]
    plot.bars(plots / "int8.svg", "Main exit in 8 bits: time of others for ours", "median of interleaved rounds, line over quartiles; above 1, ours is faster", [(case_of(figure), figure["ratio"]) for figure in figures])
    return f"""## 8 bits

Time of others for ours in 8 bits ({figures[0]['isa']} kernels): onnxruntime {figures[0]['version']} quantised by its own tool, channel by channel, and both engines in floats. Off: the
largest difference of a logit from floats, of the largest logit, with {found['weights']} weights; `meanet eval --precision int8` says what 8 bits cost a trained
network in accuracy.

{table(["", "ours, ms a batch", *peers, "ours off", "onnxruntime off", "load"], rows)}

![Main exit in 8 bits](performance/int8.svg)"""


def exits(found: Mapping, plots: pathlib.Path) -> str:
    first = found["figures"][0]
    names = list(first["ratio"])
    rows, groups, kinds = [], [], []
    for figure in found["figures"]:
        case = f"batch {figure['batch']}, {figure['threads']} thread{'s' if figure['threads'] > 1 else ''}"
        groups.append((case, figure["ratio"]))
        rows.append([case, *(shown(figure["images_per_second"][name]) for name in ("everything", *names)), *(shown(figure["ratio"][name]) for name in names), f"{figure['load']:.1f}"])
    plot.bars(plots / "exits.svg", "Exits: throughput for that of main and extension on every image", "above 1, exits pay", groups)
    for name in names:
        # Without images to choose it on, there is no threshold.
        above = found["extend_above"][name]
        accuracy = first["accuracy"][name]
        shares = ", ".join(f"{exit_} {entry['share']:.1%}" for exit_, entry in sorted(first["exits"][name].items()))
        kinds.append([name, "–" if above is None else f"{above:.2f}", shares, f"{accuracy['exits']:.1%}", f"{accuracy['everything']:.1%}"])
    return f"""## Exits

{found['backbone']} of the checkout, {found['images']} images, images a second. "Hard" is an edge on its own, whose extension runs where the main block names a hard class
and has more nats of entropy than `extendAbove`, which `meanet choose`'s rule has chosen on other images; "thrifty" is the same where that may cost a point of accuracy;
"offload" is an edge with a cloud, which images above {found['offload_above']} nats leave for (the cloud's work is not counted).

{table(["", "everything", *names, *(f"{name}: ratio" for name in names), "load"], rows)}

{table(["", "extendAbove", "shares", "right, of what the edge answers", "with everything on every image"], kinds)}

![Exits against everything](performance/exits.svg)"""


def training(found: Mapping, plots: pathlib.Path) -> str:
    rows, groups = [], []
    for figure in found["figures"]:
        case = f"{figure['threads']} thread{'s' if figure['threads'] > 1 else ''}"
        groups.append((case, figure["ratio"]))
        rows += [[case, name, shown(spread), shown(figure["ratio"][name]) if name in figure["ratio"] else "1", f"{figure['load']:.1f}"] for name, spread in figure["images_per_second"].items()]
    built = f" The program with LibTorch was built apart, at {found['torch_program_built']}." if found["torch_program_built"] else ""
    plot.bars(plots / "training.svg", "Training: speed for that of PyTorch", "adaptive and extension block, cached features; above 1, ours is faster", groups)
    return f"""## Training

Steps of adaptive and extension block of {found['backbone']} over cached main features, {found['figures'][0]['batch']} images, against PyTorch {found['figures'][0]['version']}. Ours counts all of a
training step, gathering and augmenting of images too; PyTorch's repeats one batch.{built}

{table(["", "backend", "images a second", "for PyTorch", "load"], rows)}

![Training against PyTorch](performance/training.svg)"""


def server(found: Mapping, plots: pathlib.Path) -> str:
    rows, groups = [], []
    for figure in found["figures"]:
        groups.append((f"{figure['tier']}, {figure['clients']} clients", {"throughput": figure["ratio"]["per_second"], "p50": figure["ratio"]["p50_ms"], "p99": figure["ratio"]["p99_ms"]}))
        for name, entry in figure["servers"].items():
            memory = figure["memory_mb"][name]
            first = shown(figure["first_answer_ms"][name]) if name in figure["first_answer_ms"] else "–"
            rows.append([figure["tier"], name, shown(entry["per_second"]), shown(entry["p50_ms"]), shown(entry["p99_ms"]), f"{memory['touched_mb']:.0f}, {memory['resident_mb']:.0f}, {memory['peak_mb']:.0f}", first, str(entry["failed"]), f"{figure['load']:.1f}"])
    plot.bars(plots / "server.svg", "Servers: how many times better than MLServer with onnxruntime", "above 1, ours is better", groups)
    sizes = ", ".join(f"{name.removesuffix('_mb').replace('_', ' ')} {value:.0f} MB" for name, value in found["sizes"].items())
    ratios = "; ".join(
        f"{figure['tier']}: throughput {shown(figure['ratio']['per_second'])}, p50 {shown(figure['ratio']['p50_ms'])}, p99 {shown(figure['ratio']['p99_ms'])}, memory {figure['memory_ratio']:.1f}"
        for figure in found["figures"]
    )
    return f"""## Servers

JSON bodies of one image of 32-bit floats ({found['figures'][0]['body_bytes'] / 1e3:.0f} kB) from wrk on the same cores, the model of {found['model']}; the edge answers all at its main exit. Times
are milliseconds; memory is what is touched while serving, what is resident, and what was at most. How many times better than the faster MLServer: {ratios}. On disk: {sizes}.

{table(["", "server", "requests a second", "p50", "p99", "memory, MB", "first answer", "failed", "load"], rows)}

![Servers against MLServer](performance/server.svg)"""


def batching(found: Mapping, plots: pathlib.Path) -> str:
    rows = [[name, shown(entry["per_second"]), shown(entry["p50_ms"]), shown(entry["p99_ms"])] for name, entry in found["servers"].items()]
    return f"""## Batching

The cloud tier with {found['clients']} clients against itself without batches: {shown(found['ratio']['per_second'])} times the throughput.

{table(["", "requests a second", "p50, ms", "p99, ms"], rows)}"""


def of_images(figure: Mapping) -> str:
    return "one image a request" if figure["batch"] == 1 else f"{figure['batch']} images a request"


def overload(found: Mapping, plots: pathlib.Path) -> str:
    columns = {
        "capacity, images/s": "capacity",
        "goodput, of it": "goodput",
        "answered p50, ms": "answered_p50_ms",
        "refused a second": "refused_per_second",
        "p50, ms": "refused_p50_ms",
        "p95": "refused_p95_ms",
        "p99": "refused_p99_ms",
        "MiB at capacity": "before_mib",
        "at most": "most_mib",
        "other failures": "failed",
        "unsent": "unsent",
    }
    rows = [[of_images(figure), *(shown(figure[name]) for name in columns.values())] for figure in found["crowds"].values()]
    return f"""## Overload

{found['times']} times as many images as the cloud tier can answer, sent at a rate that waits for nothing. An edge that has many to send puts up to 32 of them
into a request; a crowd of single images costs a server the most, since what is refused is read as well. The load generator runs on the same cores, and takes its share of
them.

{table(["", *columns], rows)}"""


def standin(found: Mapping, plots: pathlib.Path) -> str:
    return f"""## Another server as the cloud

An edge with MLServer behind it, serving {found['network']}: of {found['images']} test images, {found['exits']['main']} were answered by the main block and {found['exits']['cloud']} by MLServer above
{found['threshold']} nats; exit and label of each were those that the networks give when asked directly, and no answer was degraded."""
