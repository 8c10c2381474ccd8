"""Makes the PyTorch of this environment one for CPUs, by stand-ins for the libraries of CUDA that its wheel wants.

The wheel of Linux on x86-64 links libraries of several gigabytes that no CPU uses. Here, each that is missing is replaced by an
empty one, and the functions that the CPU part wants of them by ones that say "no device" (100). Needs gcc and nm.
"""

import pathlib
import re
import shutil
import subprocess
import sysconfig

# Libraries of the wheel that hold code for GPUs alone; megabytes that nothing reads.
GPU_ONLY = ("libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so", "libcaffe2_nvrtc.so")
# The CPU part, whose wishes are to be met.
KEPT = ("libtorch_python.so", "libtorch.so", "libtorch_cpu.so", "libc10.so", "libc10_cuda.so", "libshm.so", "libtorch_global_deps.so")


def symbols(library: pathlib.Path, which: str) -> set[str]:
    lines = subprocess.run(["nm", "-D", which, library], check=True, capture_output=True, text=True).stdout.splitlines()
    # A weak wish ("w", "v") may stay unmet, and is then null.
    return {name.split("@")[0] for *_, kind, name in map(str.split, lines) if which == "--defined-only" or kind == "U"}


def exported(library: pathlib.Path) -> set[str]:
    return symbols(library, "--defined-only")


def wishes(library: pathlib.Path) -> set[str]:
    return symbols(library, "--undefined-only")


def system() -> list[pathlib.Path]:
    """The libraries of C and C++."""
    names = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2")
    found = (subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip() for name in names)
    return [pathlib.Path(path) for path in found if path.startswith("/")]


def needed(library: pathlib.Path) -> set[str]:
    """Names of the libraries that one wants."""
    text = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", text))


def link(source: pathlib.Path, to: pathlib.Path) -> None:
    subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{to.name}", "-o", to, source], check=True)


def table(name: str) -> str:
    """What the C++ ABI reads of a class: for `typeid`, the kind of class and its name; for virtual calls, nothing that is ever called."""
    head = f".globl {name}\n.type {name}, @object\n{name}:"
    if name.startswith("_ZTI"):
        return f'{head} .quad _ZTVN10__cxxabiv117__class_type_infoE+16, name.{name}\nname.{name}: .asciz "{name.removeprefix("_ZTI")}"\n.balign 16'
    return f"{head} .zero 1024"


def main() -> None:
    lib = pathlib.Path(sysconfig.get_path("purelib")) / "torch" / "lib"
    if not (lib / "libtorch_cuda.so").exists():
        return  # a wheel for CPUs alone
    missing = [tool for tool in ("gcc", "nm", "readelf") if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"hack/bench/torch_cpu.py: {', '.join(missing)} missing; install gcc and binutils")
    for name in GPU_ONLY:
        (lib / name).unlink(missing_ok=True)
    kept = [lib / name for name in KEPT if (lib / name).exists()]
    bundled = [path for path in lib.iterdir() if re.search(r"\.so(\.|$)", path.name)]
    there = set().union(*(exported(path) for path in [*bundled, *system()]))
    wanted = set().union(*(wishes(path) for path in kept))
    # Python's own are there when it loads the library.
    stand_ins = sorted(name for name in wanted - there if not name.startswith(("Py", "_Py")))
    # Tables of classes are read when the library is loaded, so they are data.
    tables = [name for name in stand_ins if name.startswith("_ZT")]
    methods = [name for name in stand_ins if name.startswith("_Z") and name not in tables]
    functions = [name for name in stand_ins if not name.startswith("_Z")]
    source = lib / "stand_ins.S"
    source.write_text(
        "\n".join([
            ".text",
            *(f".globl {name}\n.type {name}, @function\n{name}:" for name in functions),
            "  mov $100, %eax\n  ret",
            # What gives a reference gives one of empty memory.
            *(f".globl {name}\n.type {name}, @function\n{name}:" for name in methods),
            "  lea empty(%rip), %rax\n  ret",
            ".data\nempty: .zero 4096",
            *(table(name) for name in tables),
            '.section .note.GNU-stack,"",@progbits\n',
        ])
    )
    link(source, lib / "libtorch_cuda.so")
    source.write_text('.section .note.GNU-stack,"",@progbits\n')
    for name in sorted(set().union(*(needed(path) for path in kept))):
        gpu = re.match(r"lib(cu|nccl|nv)", name)
        if gpu and not (lib / name).exists():
            link(source, lib / name)
    source.unlink()
    # Training on several machines makes objects of NCCL's classes; PyTorch does without where it was built without.
    for module in [lib.parent / "__init__.py", *(lib.parent / "distributed").rglob("__init__.py")]:
        module.write_text(re.sub(r'hasattr\(torch\._C, "_\w+_init"\)', "False", module.read_text()))


if __name__ == "__main__":
    main()
