"""Images and machines for the boots: a root tree, a disk with a partition table, an initrd, QEMU."""
import glob, json, os, re, shutil, socket, subprocess, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.dirname(os.path.dirname(HERE))
WORK = os.path.join(BASE, "target", "boot")
ROOT_GUID = "0f0f0f0f-0102-4000-8000-000000000003"
MODULES = ("virtio_pci virtio_blk virtio_net virtio_console virtio_rng virtio_balloon vmw_pvscsi sd_mod ata_piix "
           "vmxnet3 erofs overlay button evdev").split()

# Drivers of further kinds of disks.
LATE = "scsi_common.ko scsi_mod.ko vmw_pvscsi.ko sd_mod.ko libata.ko ata_piix.ko t10-pi.ko crc64.ko crc64-rocksoft.ko".split()


def sh(*command, **more):
    return subprocess.run(["nice", "-n", "19", *command], check=True, **more)


def prepare():
    sh(os.path.join(HERE, "fetch"), WORK)
    sh(os.path.join(BASE, "build"), os.path.join(WORK, "init"), stderr=subprocess.DEVNULL)
    initrd()
    base_tree()


def kernel():
    return glob.glob(f"{WORK}/kernel/boot/vmlinuz-*")[0]


def modules():
    folder = glob.glob(f"{WORK}/kernel/lib/modules/*")[0]
    return sh(f"{HERE}/modules", folder, *MODULES, capture_output=True, text=True).stdout.split()


def initrd():
    stage = f"{WORK}/initrd.d"
    shutil.rmtree(stage, ignore_errors=True)
    os.makedirs(f"{stage}/modules")
    shutil.copy(f"{WORK}/init", f"{stage}/init")
    names = [shutil.copy(path, f"{stage}/modules/") for path in modules()]
    with open(f"{stage}/modules/order", "w") as order:
        order.writelines(("late " if os.path.basename(name) in LATE else "") + os.path.basename(name) + "\n" for name in names)
    pack(stage, f"{WORK}/initrd")
    print(f"initrd {os.path.getsize(f'{WORK}/initrd') / 2**20:.2f} MiB, {len(names)} modules, "
          f"init {os.path.getsize(f'{WORK}/init')} bytes")


def pack(folder, out):
    command = f"cd {folder} && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | zstd -q -19 > {out}"
    sh("sh", "-c", command)


def base_tree():
    """Makes the tree of Debian's packages with merged /usr and the folders that the init wants."""
    tree = f"{WORK}/base"
    if os.path.exists(tree):
        return
    shutil.copytree(f"{WORK}/tree", tree + ".new", symlinks=True)
    tree += ".new"
    for name in ("bin", "sbin", "lib", "lib64"):
        old = f"{tree}/{name}"
        if os.path.isdir(old) and not os.path.islink(old):
            sh("cp", "-a", old + "/.", f"{tree}/usr/{name}/") if os.path.isdir(f"{tree}/usr/{name}") else \
                shutil.copytree(old, f"{tree}/usr/{name}", symlinks=True)
            shutil.rmtree(old)
        if not os.path.islink(old):
            os.symlink(f"usr/{name}", old)
    shutil.rmtree(f"{tree}/usr/share/doc", ignore_errors=True)
    for name in "proc sys dev run tmp root etc/melv var/log/nginx var/lib/nginx srv/data".split():
        os.makedirs(f"{tree}/{name}", exist_ok=True)
    for name in "sh sleep cat id seq grep ls kill touch ps mount head tail stat ip yes true false env test date".split():
        if not os.path.lexists(f"{tree}/usr/bin/{name}"):
            os.symlink("busybox", f"{tree}/usr/bin/{name}")
    write(f"{tree}/etc/passwd", "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/false\n")
    write(f"{tree}/etc/group", "root:x:0:\nwww-data:x:33:\n")
    write(f"{tree}/etc/resolv.conf", None, "/run/resolv.conf")
    write(f"{tree}/etc/nginx/nginx.conf", "user www-data; daemon off; pid /run/nginx.pid; error_log stderr;\n"
          "worker_processes 1; events { worker_connections 64; }\n"
          "http { access_log off; server { listen 80; root /usr/share/nginx/html; } }\n")
    write(f"{tree}/srv/data/image-file", "from the image\n")
    os.chown(f"{tree}/srv/data/image-file", 1000, 1001)
    os.chmod(f"{tree}/srv/data/image-file", 0o640)
    os.rename(tree, f"{WORK}/base")


def write(path, text, link=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if link:
        if os.path.lexists(path):
            os.remove(path)
        os.symlink(link, path)
    else:
        with open(path, "w") as file:
            file.write(text)


def root_disk(name, config, files=None):
    """Makes a disk with a partition table whose second partition is the root, and returns its path."""
    folder = f"{WORK}/{name}.d"
    shutil.rmtree(folder, ignore_errors=True)
    # Hard links: the content is only read.
    sh("cp", "-al", f"{WORK}/base", folder)
    os.makedirs(f"{folder}/etc/melv", exist_ok=True)
    if config is not None:
        write(f"{folder}/etc/melv/init", config)
    for path, text in (files or {}).items():
        write(folder + path, text)
        os.chmod(folder + path, 0o755)
    erofs, disk = f"{WORK}/{name}.erofs", f"{WORK}/{name}.raw"
    sh("mkfs.erofs", "--quiet", "-T1700000000", "-Enoinline_data", erofs, folder, stdout=subprocess.DEVNULL)
    size = (os.path.getsize(erofs) + 2**20 - 1) // 2**20
    for path in (disk,):
        if os.path.exists(path):
            os.remove(path)
    sh("truncate", "-s", f"{size + 4}M", disk)
    sh("sgdisk", "-a", "2048", "-n", "1:1M:+1M", "-t", "1:ef00", "-n", f"2:2M:+{size}M", "-u", f"2:{ROOT_GUID}", disk,
       stdout=subprocess.DEVNULL)
    sh("dd", f"if={erofs}", f"of={disk}", "bs=1M", "seek=2", "conv=notrunc", "status=none")
    shutil.rmtree(folder)
    os.remove(erofs)
    return disk


class Machine:
    """A machine of QEMU, with its console as lines."""

    def __init__(self, disk, data=(), net=True, initrd=None, memory=128, cmdline="", more=()):
        self.port = free_port() if net else None
        self.qmp_path = f"{WORK}/qmp-{os.getpid()}-{id(self)}"
        command = ["nice", "-n", "19", "qemu-system-x86_64", "-accel", "tcg,thread=single,tb-size=64", "-cpu", "max", "-M", "pc",
                   "-m", str(memory), "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-kernel", kernel(), "-initrd", initrd or f"{WORK}/initrd", "-serial", "stdio",
                   "-qmp", f"unix:{self.qmp_path},server=on,wait=off", "-device", "virtio-rng-pci",
                   "-append", f"console=ttyS0 quiet root=PARTUUID={ROOT_GUID} {cmdline}"]
        if disk:
            command += ["-drive", f"file={disk},format=raw,if=none,id=root,readonly=on", "-device", "virtio-blk-pci,drive=root"]
        for index, (path, serial) in enumerate(data):
            command += ["-drive", f"file={path},format=raw,if=none,id=d{index},cache=writeback",
                        "-device", f"virtio-blk-pci,drive=d{index}" + (f",serial={serial}" if serial else "")]
        if net:
            command += ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:80", "-device", "virtio-net-pci,netdev=n,romfile="]
        self.start = time.time()
        self.process = subprocess.Popen(command + list(more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines, self.raw, self.changed = [], b"", threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while piece := os.read(self.process.stdout.fileno(), 65536):
            with self.changed:
                self.raw += piece
                *lines, _ = self.raw.split(b"\n")
                now = time.time() - self.start
                for line in lines[len(self.lines):]:
                    self.lines.append((now, line.decode(errors="replace").rstrip("\r")))
                self.changed.notify_all()
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    closed = False

    def wait(self, pattern, timeout=60):
        """Waits for a line and returns its match, with the wall time in `.at`."""
        end, seen = time.time() + timeout, 0
        with self.changed:
            while True:
                for at, line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        self.at = at
                        return match
                seen = len(self.lines)
                if self.closed or time.time() > end:
                    raise AssertionError(f"no line /{pattern}/ in:\n" + self.text()[-6000:])
                self.changed.wait(0.5)

    def text(self):
        return "\n".join(line for _, line in self.lines)

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def qmp(self, **command):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.qmp_path)
        stream = connection.makefile("rw")
        stream.readline()
        for one in ({"execute": "qmp_capabilities"}, command):
            stream.write(json.dumps(one) + "\n")
            stream.flush()
            stream.readline()
        connection.close()

    def button(self):
        self.qmp(execute="system_powerdown")

    def keys(self, *names):
        keys = [{"type": "qcode", "data": name} for name in names]
        self.qmp(execute="send-key", arguments={"keys": keys})

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ended(self, timeout=30):
        """Waits for the end of QEMU and returns its code."""
        code = self.process.wait(timeout)
        end = time.time() + 5
        while not self.closed and time.time() < end:
            time.sleep(0.01)
        return code

    def http(self, timeout=60):
        """Waits for an answer to HTTP and returns the seconds since the start."""
        while time.time() - self.start < timeout:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                    connection.settimeout(1)
                    connection.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
                    if connection.recv(12) == b"HTTP/1.1 200":
                        return time.time() - self.start
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError("no answer of HTTP:\n" + self.text()[-4000:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.qmp_path):
            os.remove(self.qmp_path)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
