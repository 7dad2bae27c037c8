"""A machine in qemu with Debian's kernel and BlueZ, on this machine's own files: read-only, with a copy-on-write layer.

No image is built: the guest sees the host's `/` over virtio-9p, so it has the same Python, the same packages and the
same `bluetoothd`. Only the kernel is fetched, as its Debian package by the machine's own apt, and unpacked to `build/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
#: Debian 12's newer kernel. Its older one, 6.1.192, does not survive a band that refuses its key:
#: docs/adr/0007-security-of-the-link.md.
META: Final = os.environ.get("KERNEL", "linux-image-6.12-amd64")
CACHE: Final = ROOT / "build" / "bluez"
PACKAGES: Final = ("qemu-system-x86", "bluez", "dbus", "busybox-static", "mosquitto")
#: What the guest's kernel needs of its modules: to find its files, to be a Bluetooth host, and the virtual controller.
MODULE_FOLDERS: Final = (
    "arch/x86/crypto",
    "crypto",
    "drivers/bluetooth",
    "drivers/hid/uhid.ko*",
    "drivers/hid/hid.ko*",
    "drivers/input",
    "drivers/virtio",
    "fs/9p",
    "fs/fscache",
    "fs/netfs",
    "fs/overlayfs",
    "lib",
    "net/9p",
    "net/bluetooth",
    "net/rfkill",
)
#: Before the host's files are there.
EARLY_MODULES: Final = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
MEMORY_MB: Final = 1536
CORES: Final = 2


class MachineFault(Exception):
    """The machine cannot be made; one line that says what to do."""


def kernel() -> Path:
    """The folder of the unpacked kernel, newest of this machine's Debian; fetched once for each version."""
    depends = _output("apt-cache", "depends", "--no-recommends", "--no-suggests", META)
    names = [line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image-")]
    if not names:
        raise MachineFault(f"apt knows no {META}: run 'apt-get update' as root, on Debian for amd64")
    version = _output("apt-cache", "show", "--no-all-versions", names[0]).partition("\nVersion: ")[2].splitlines()[0]
    folder = CACHE / f"{names[0]}_{version}".replace(":", "_")
    if not folder.is_dir():
        fresh = CACHE / "fetching"
        shutil.rmtree(fresh, ignore_errors=True)
        (fresh / "root").mkdir(parents=True)
        subprocess.run(["apt-get", "-qq", "download", f"{names[0]}={version}"], cwd=fresh, check=True)
        (package,) = fresh.glob("*.deb")
        _unpack(package, fresh / "root")
        package.unlink()
        (fresh / "root").rename(folder)
    return folder


def _unpack(package: Path, root: Path) -> None:
    release = package.name.split("_", maxsplit=1)[0].removeprefix("linux-image-")
    modules = f"./lib/modules/{release}"
    wanted = ["./boot", *(f"{modules}/kernel/{name}" for name in MODULE_FOLDERS), f"{modules}/modules.*"]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as content:
        # A folder that this kernel does not have is none that it needs: modprobe in the guest would fail, and say so.
        subprocess.run(["tar", "-x", "-C", root, "--wildcards", *wanted], stdin=content.stdout, check=False)
    compressed = [str(path) for path in root.rglob("*.ko.xz")]
    if compressed:  # busybox can load them, and complains of each
        subprocess.run(["xz", "-d", *compressed], check=True)
    subprocess.run(["busybox", "depmod", "-b", root, release], check=True)


def boot(program: str, results: Path, *, seconds: float) -> str:
    """Boot, run `program` (a shell command, from the project's root) as root, switch off; what the console said.

    `results` is the one folder that the guest can write to, as /results. Raises MachineFault when it does not end.
    """
    folder = kernel()
    (release,) = (path.name for path in (folder / "lib" / "modules").iterdir())
    (CACHE / "program").write_text(program)
    initrd = _initrd(folder, release)
    console = CACHE / "console.log"
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35"]
    command += ["-smp", str(CORES), "-m", str(MEMORY_MB), "-nodefaults", "-no-user-config", "-display", "none"]
    command += ["-no-reboot", "-nic", "none", "-serial", f"file:{console}"]
    command += ["-kernel", str(next((folder / "boot").glob("vmlinuz-*"))), "-initrd", str(initrd)]
    words = f"console=ttyS0 quiet panic=-1 PROJECT={ROOT} MODULES={folder / 'lib' / 'modules' / release}"
    command += ["-append", f"{words} PROGRAM={CACHE / 'program'} EARLY={','.join(EARLY_MODULES)}"]
    for tag, path, more in (("files", Path("/"), ",readonly=on"), ("results", results, "")):
        command += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{more}"]
        command += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    try:
        subprocess.run(command, timeout=seconds, check=True, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise MachineFault(f"the machine did not end within {seconds:.0f} s; its last words are in {console}") from None
    return console.read_text(errors="replace")


def _initrd(folder: Path, release: str) -> Path:
    """A file system for the first second: busybox, the modules that reach the host's files, and `init`."""
    root = CACHE / "initrd"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "dev", "proc", "sys", "host", "layer", "new"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "busybox", root / "bin" / "busybox")
    shutil.copy(Path(__file__).with_name("init"), root / "init")
    (root / "init").chmod(0o755)
    modules = root / "lib" / "modules" / release
    for path in (folder / "lib" / "modules" / release).rglob("*"):
        if path.is_file() and ("crypto" not in path.parts) and ("bluetooth" not in path.parts):
            target = modules / path.relative_to(folder / "lib" / "modules" / release)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    image = CACHE / "initrd.img"
    names = subprocess.run(["find", "."], cwd=root, check=True, stdout=subprocess.PIPE).stdout
    with image.open("wb") as out:
        subprocess.run(
            ["busybox", "cpio", "-o", "-H", "newc"],
            cwd=root,
            input=names,
            stdout=out,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    return image


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise MachineFault(f"'{' '.join(command)}' failed: this test runs on Debian for amd64") from None


if __name__ == "__main__":
    out = CACHE / "results"
    out.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(boot(" ".join(sys.argv[1:]), out, seconds=480))
