"""The cases of benches/check-outcomes, by groups."""

import fcntl
import os
import random
import shutil
import tomllib

from .run import Runner, files_of, read, write
from .seal import forged_image, object_digest, sealed, sealed_bundle, sealed_locator, with_length

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CORPUS, VECTORS = os.path.join(ROOT, "fuzz", "corpus"), os.path.join(ROOT, "spec", "vectors")
NOBODY = 65534
KINDS = ["packs", "lists", "locators", "pages", "manifests", "refs", "index/logs", "index/segments", "index/stamps"]

# A place in a store for each kind of vector. A part of an object is laid in place of all of it.
PLACES = {
    "store-header": "melv.store", "reference": "refs", "list": "lists", "list-root": "lists",
    "locator": "locators", "locator-root": "locators", "locator-page": "locators", "pack": "packs",
    "frame": "packs", "record": "manifests", "signature": "manifests", "trace": "manifests",
}

# Marks of formats: offset, or bytes from the end where it is negative; bytes.
MARKS = {
    "bundle": (0, b"melvbndl"), "qcow": (0, b"QFI\xfb\0\0\0\x01"), "qcow2": (0, b"QFI\xfb\0\0\0\x03"),
    "qed": (0, b"QED\0"), "vhd": (0, b"conectix"), "vhdx": (0, b"vhdxfile"), "vdi": (0x40, b"\x7f\x10\xda\xbe"),
    "parallels": (0, b"WithoutFreeSpace"), "parallels-ext": (0, b"WithouFreSpacExt"),
    "bochs": (0, b"Bochs Virtual HD Image"), "vma": (0, b"VMA\0\0\0\0\x01"), "dmg-encrypted": (0, b"encrcdsa"),
    "apple-sparse": (0, b"sprs\0\0\0"), "apple-asif": (0, b"shdw\0\0\0\x01"), "ewf": (0, b"EVF\t\r\n\xff\0"),
    "ewf-logical": (0, b"LVF\t\r\n\xff\0"), "ewf-2": (0, b"EVF2\r\n\x81\0"), "ewf-logical-2": (0, b"LEF2\r\n\x81\0"),
    "aff": (0, b"AFF10\r\n\0"), "aff-1": (0, b"AFF1\x0d\x0a\0"), "simg": (0, b"\x3a\xff\x26\xed\x01\0"),
    "partclone": (0, b"partclone-image"), "wim": (0, b"MSWIM\0\0\0"), "tar": (257, b"ustar"),
    "zip": (0, b"PK\x03\x04"), "zip-empty": (0, b"PK\x05\x06"), "zip-parts": (0, b"PK\x07\x08"),
    "7z": (0, b"7z\xbc\xaf\x27\x1c"), "rar": (0, b"Rar!\x1a\x07"), "gzip": (0, b"\x1f\x8b\x08"),
    "xz": (0, b"\xfd7zXZ\0"), "zstd": (0, b"\x28\xb5\x2f\xfd"), "zstd-skipped": (0, b"\x50\x2a\x4d\x18\x04\0\0\0"),
    "lz4": (0, b"\x04\x22\x4d\x18"), "lz4-old": (0, b"\x02\x21\x4c\x18"), "lz4-3": (0, b"\x03\x21\x4c\x18"),
    "lzip": (0, b"LZIP\x01"), "lzop": (0, b"\x89LZO\0\r\n\x1a\n"), "snappy": (0, b"\xff\x06\0\0sNaPpY"),
    "bzip2": (0, b"BZh91AY&SY"), "bzip2-empty": (0, b"BZh9\x17rE8P\x90"), "compress": (0, b"\x1f\x9d\x90"),
    "lzma": (0, b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff"),
    "cloop": (0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount"),
    "xml": (0, b"\xef\xbb\xbf  <?xml version=\"1.0\"?><Envelope>"), "html": (0, b"\n<!DOCTYPE HTML><title>404"),
    "vmx": (0, b".encoding = \"UTF-8\"\nconfig.version = \"8\""), "vmdk-sparse": (0, b"KDMV\x01\0\0\0"),
    "vmdk-cowd": (0, b"COWD\x01\0\0\0"), "vmdk-se": (0, b"\xbe\xba\xfe\xca\0\0\0\0\x01\0\0\0\x02\0\0\0"),
    "vmdk-text": (0, b"# Disk DescriptorFile\nversion=1\n"), "vhd-fixed": (-512, b"conectix"),
    "vhd-fixed-old": (-511, b"conectix"), "dmg": (-512, b"koly\0\0\0\x04\0\0\x02\0"), "dmg-crypt-end": (-8, b"cdsaencr"),
    "iso": (32769, b"CD001"), "squashfs": (0, b"hsqs"), "luks": (0, b"LUKS\xba\xbe"), "boot-sector": (510, b"\x55\xaa"),
}


class Cases(Runner):
    def vmdk(self):
        """Every VMDK of the corpora: described, hashed, imported as a file and through a pipe."""
        write(self.path("v", "flat.bin"), b"".join(bytes([at]) * 512 for at in range(64)))
        for corpus in ("vmdk_text", "vmdk_sparse", "vmdk_stream"):
            for name, data in files_of(CORPUS, corpus):
                self.inputs += 1
                write(self.path("v", "disk.vmdk"), data)
                case = f"{corpus}/{name}"
                self.run(f"{case}/inspect", "inspect", "v/disk.vmdk")
                self.run(f"{case}/digest", "digest", "v/disk.vmdk")
                to = {"store": "s", "writes": True}
                self.fresh("s")
                self.run(f"{case}/import", "import", "v/disk.vmdk", "--name", "x", "--format", "vmdk", **to)
                self.fresh("s")
                self.run(f"{case}/pipe", "import", "-", "--name", "x", "--format", "vmdk", stdin=data, **to)

    def sound_bundles(self):
        """The bundles of the vectors that can be read, each with the store that it wants."""
        with open(os.path.join(VECTORS, "index.toml"), "rb") as file:
            vectors = tomllib.load(file)["vector"]
        return [vector for vector in vectors if vector["kind"] == "bundle" and vector["expect"] == "ok"]

    def bundles(self):
        """Bundles of the vectors, changed as the scripts of the corpus say; heads and tables; all that was found."""
        seen = set()
        for case, data, beside in [*self.scripted_bundles(), *self.tables_of_bundles()]:
            if data in seen:
                continue
            seen.add(data)
            self.inputs += 1
            write(self.path("b.melv"), data)
            store = self.store_beside(beside)
            self.run(f"{case}/verify", "verify", "--full", "b.melv", store=store)
            self.run(f"{case}/load", "load", "b.melv", store=store, writes=True)

    def scripted_bundles(self):
        """A script's changes anywhere in the file, and once more all of them in its table, which is sealed then."""
        sound = self.sound_bundles()
        for corpus, files in (("bundle", files_of(CORPUS, "bundle")), ("found", files_of(ROOT, "fuzz", "found"))):
            for name, script in files:
                if name == "README.md":
                    continue
                vector = sound[script[0] % len(sound)] if script else sound[0]
                data = read(os.path.join(VECTORS, vector["file"]))
                table = data.rindex(b"melvbtab")
                anywhere, in_table = bytearray(data), bytearray(data)
                for at in range(1, len(script), 5):
                    change = script[at : at + 5].ljust(5, b"\x55")
                    place = int.from_bytes(change[:4], "little")
                    anywhere[place % len(data)] ^= change[4]
                    in_table[table + place % (len(data) - table)] ^= change[4]
                beside = vector.get("context", {}).get("store")
                yield f"{corpus}/{name}", bytes(anywhere), beside
                yield f"{corpus}/{name}-sealed", sealed_bundle(bytes(in_table)), beside

    def tables_of_bundles(self):
        front = self.front_of_bundle()
        for name, data in files_of(CORPUS, "bundle_table"):
            data = data if data.startswith(b"melvbndl") else front + data
            yield f"bundle_table/{name}", data, None
            yield f"bundle_table/{name}-sealed", sealed_bundle(data), None

    def front_of_bundle(self):
        """A sound bundle without its table."""
        data = read(os.path.join(VECTORS, "valid", "two-images.bundle"))
        return data[: data.rindex(b"melvbtab")]

    def store_beside(self, beside):
        """A store with the bases of a bundle, or none."""
        self.fresh("s")
        if beside and beside.endswith(".store"):
            shutil.copytree(os.path.join(VECTORS, beside), self.path("s"))
        elif beside:
            shutil.copy(os.path.join(VECTORS, beside), self.path("beside.melv"))
            self.spawn([self.melv, "load", "beside.melv"], "s")
        return "s"

    def place_of(self, store, kind):
        """The first object of a kind, in the order of names."""
        if kind == "melv.store":
            return self.path(store, kind)
        found = [os.path.join(folder, name) for folder, _, files in os.walk(self.path(store, kind)) for name in files]
        return min(found)

    def objects(self):
        """Objects of the corpora, as they are and sealed, in place of sound ones."""
        self.base()
        seen = set()
        for case, data, kind in self.objects_of_corpora():
            for label, bytes_here in ((case, data), (f"{case}-sealed", sealed(data))):
                if (kind, bytes_here) in seen:
                    continue
                seen.add((kind, bytes_here))
                self.inputs += 1
                store = self.fresh("s", like="base")
                write(self.place_of(store, kind), bytes_here)
                self.run(f"{label}/verify", "verify", "--full", store=store)
                self.run(f"{label}/ls", "ls", store=store)
                self.run(f"{label}/import", "import", "two.raw", "--name", "again", store=store, writes=True)

        parts = [("manifest", name, data) for name, data in files_of(CORPUS, "manifest")]
        parts += [("map-leaf", name, data[1:]) for name, data in files_of(CORPUS, "map_leaf")]
        for kind, name, data in parts:
            self.inputs += 1
            self.forged(f"{kind}/{name}", kind, with_length(data))

    def forged(self, case, kind, part):
        """An image of a sound store, of which a part is this one, and has its digest wherever that is wanted."""
        self.fresh("s")
        shutil.copytree(os.path.join(VECTORS, "valid/parts.store"), self.path("s"))
        places = {kind: self.place_of("s", kind) for kind in ("manifests", "pages", "refs")}
        image, record, pages = forged_image(read(places["manifests"]), read(places["pages"]), kind, part)
        for place, name, data in (("manifests", image, record), ("pages", object_digest(pages), pages)):
            os.unlink(places[place])
            write(self.path("s", place, name.hex()), data)
        reference = read(places["refs"])
        write(places["refs"], sealed(reference[:32] + image + reference[64:]))
        self.run(f"{case}/verify", "verify", "--full", store="s")
        self.run(f"{case}/inspect", "inspect", "web", store="s")
        self.run(f"{case}/map", "map", "web", store="s")
        self.run(f"{case}/export", "export", "web", "-", store="s", out="-")
        self.run(f"{case}/import", "import", "one.raw", "--name", "again", store="s", writes=True)

    def objects_of_corpora(self):
        for name, data in files_of(CORPUS, "record"):
            yield f"record/{name}", data, "manifests"
        for name, data in files_of(CORPUS, "objects"):
            kind = {b"melvstor": "melv.store", b"melvrefr": "refs", b"melvpack": "packs"}.get(data[:8], "pages")
            yield f"objects/{name}", data, kind
        for name, data in files_of(CORPUS, "frames"):
            yield f"frames/{name}", data, "packs" if data[:8] == b"melvpack" else "pages"
        for name, data in files_of(CORPUS, "tables"):
            length = int.from_bytes(data[:2], "little")
            root, pages = data[2 : 2 + length], data[2 + length :]
            kind = "locators" if b"melvloca" in root else "lists"
            yield f"tables/{name}", pages + root + len(root).to_bytes(8, "little"), kind
            yield f"tables/{name}-root", sealed_locator(pages + sealed(root) + len(root).to_bytes(8, "little")), kind
        for name, data in files_of(CORPUS, "segment"):
            yield f"segment/{name}", data[9:], "index/segments"

    def names(self):
        """Names of the corpus as arguments, and as names of files."""
        self.base()
        for name, data in files_of(CORPUS, "names"):
            if b"\0" in data or not data:
                continue
            self.inputs += 1
            text = os.fsdecode(data)
            self.run(f"names/{name}/tag", "tag", "one", "--", text, store=self.fresh("s", like="base"), writes=True)
            self.run(f"names/{name}/rm", "rm", "--", text, store="s", writes=True)
            self.run(f"names/{name}/inspect", "inspect", "--", text, store="base")
            if "/" not in text and text not in (".", "..") and len(data) < 250:
                write(self.path("n", text), b"disk" * 128)
                self.run(f"names/{name}/import", "import", f"n/{text}", store=self.fresh("s"), writes=True)
                os.unlink(self.path("n", text))

    def vectors(self):
        """The vectors: stores and bundles as they are, objects in a sound store in place of one of their kind."""
        with open(os.path.join(VECTORS, "index.toml"), "rb") as file:
            vectors = tomllib.load(file)["vector"]
        self.base()
        for vector in vectors:
            self.inputs += 1
            case, kind, context = f"vectors/{vector['file']}", vector["kind"], vector.get("context", {})
            path = os.path.join(VECTORS, vector["file"])
            data = read(path) if os.path.isfile(path) else b""
            if kind in ("bundle", "bundle-head", "bundle-table"):
                data = sealed_bundle(self.front_of_bundle() + data) if kind == "bundle-table" else data
                write(self.path("b.melv"), data.ljust(min(context.get("len", 0), 1 << 20), b"\0"))
                self.bundle_cases(case, context)
            elif kind in ("manifest", "map-leaf", "map-root", "span-root", "span-page"):
                self.forged(case, kind, data)
            elif kind == "disk":
                write(self.path("d.raw"), data)
                self.run(f"{case}/digest", "digest", "d.raw")
                self.run(f"{case}/import", "import", "d.raw", store=self.fresh("s"), writes=True)
            else:
                self.fresh("s")
                if kind == "store" and "base" not in context:
                    shutil.copytree(path, self.path("s"))
                else:
                    base = context.get("base", "valid/imported.store")
                    shutil.copytree(os.path.join(VECTORS, base), self.path("s"))
                    if kind == "store" and os.path.isdir(path):
                        shutil.copytree(path, self.path("s"), dirs_exist_ok=True)
                    elif kind != "store":
                        write(self.place_of("s", PLACES[kind]), data)
                self.store_cases(case, context.get("name") or "web")

    def bundle_cases(self, case, context):
        name, store = context.get("name"), self.store_beside(context.get("store"))
        one = f"b.melv#{name}" if name else "b.melv"
        self.run(f"{case}/verify", "verify", "--full", "b.melv", store=store)
        self.run(f"{case}/inspect", "inspect", "b.melv", store=store)
        self.run(f"{case}/digest", "digest", one, store=store)
        self.run(f"{case}/export", "export", one, "-", store=store, out="-")
        self.run(f"{case}/save", "save", one, self.fresh("c.melv"), store=store, out="c.melv")
        self.run(f"{case}/load", "load", "b.melv", store=store, writes=True)
        self.run(f"{case}/verify-loaded", "verify", "--full", store=store)

    def store_cases(self, case, name):
        """All that reads a store, then all that writes to it, then whether it is whole."""
        self.base()
        readers = [("verify", "--full"), ("ls",), ("df",), ("inspect", name), ("map", name)]
        for reader in readers:
            self.run(f"{case}/{reader[0]}", *reader, store="s")
        self.run(f"{case}/export", "export", name, "-", store="s", out="-")
        shutil.copytree(self.path("s"), self.path(self.fresh("t")))
        shutil.copytree(self.path("s"), self.path(self.fresh("u")))
        self.run(f"{case}/import", "import", "two.raw", "--name", "again", store="s", writes=True)
        self.run(f"{case}/verify-imported", "verify", "--full", store="s")
        self.run(f"{case}/load", "load", "base.melv", "--replace", store="t", writes=True)
        self.run(f"{case}/verify-loaded", "verify", "--full", store="t")
        again = ("import", "two.raw", "--name", "again", "--check-shared")
        self.run(f"{case}/import-checked", *again, store="u", writes=True)
        self.run(f"{case}/verify-checked", "verify", "--full", store="u")

    def changes(self, seed, data, other):
        """Ways to damage a file: label, new bytes or None where it is removed, and whether its time stays."""
        rng = random.Random(seed)
        for number in range(6 if data else 0):
            changed = bytearray(data)
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            yield f"flip-{number}", bytes(changed), number % 2 == 1
            right = sealed_locator(bytes(changed)) if "locators" in seed else sealed(bytes(changed))
            if right != changed:
                yield f"sealed-{number}", right, False
        at = rng.randrange(max(len(data) - 8, 1))
        yield "noise", data[:at] + rng.randbytes(8) + data[at + 8 :], False
        yield "cut", data[: len(data) // 2], False
        yield "cut-last", data[:-1], False
        yield "empty", b"", False
        yield "longer", data + b"\0", False
        yield "zeros", bytes(len(data)), False
        yield "other", other, False
        yield "removed", None, False

    def damage(self):
        """A store of each kind of damage: files of each kind changed, cut, emptied, exchanged, removed."""
        self.base()
        self.fresh("s", like="base")
        self.store_cases("damage/none", "two")
        for kind in ["melv.store", *KINDS]:
            folder = self.path("base", kind)
            files = sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
            files = files[:3] or [folder]
            for number, path in enumerate(files):
                data, other = read(path), read(files[number - 1]) if len(files) > 1 else b"melv"
                for label, changed, keeps_time in self.changes(f"{kind} {number}", data, other):
                    self.inputs += 1
                    place = self.path(self.fresh("s", like="base"), os.path.relpath(path, self.path("base")))
                    times = os.stat(place)
                    os.unlink(place) if changed is None else write(place, changed)
                    if keeps_time:
                        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
                    self.store_cases(f"damage/{kind.replace('/', '-')}-{number}/{label}", "two")
            if os.path.isdir(folder):
                self.inputs += 1
                shutil.rmtree(self.path(self.fresh("s", like="base"), kind))
                self.store_cases(f"damage/{kind.replace('/', '-')}/all-removed", "two")

    def bundle_damage(self):
        """Bundles changed at many places: head, table, and objects; cut at many lengths."""
        self.base()
        self.run("bundle-damage/only", "import", "one.raw", "--name", "one", store="only", writes=True, must="0")
        for name, beside in (("base.melv", None), ("patch.melv", "only")):
            data, rng = read(self.path(name)), random.Random(name)
            table = data.rindex(b"melvbtab")
            places = [rng.randrange(512) for _ in range(40)] + [rng.randrange(table, len(data)) for _ in range(40)]
            places += [rng.randrange(512, table) for _ in range(70)]
            flip = lambda number, at: data[:at] + bytes([data[at] ^ 1 << number % 8]) + data[at + 1 :]
            made = [(f"flip-{number}", flip(number, at)) for number, at in enumerate(places)]
            made += [(f"sealed-{number}", sealed_bundle(changed)) for number, (_, changed) in enumerate(made[40:80])]
            made += [(f"cut-{number}", data[: rng.randrange(len(data))]) for number in range(20)]
            made += [("longer", data + b"\0"), ("twice", data + data), ("zeros", bytes(len(data)))]
            for label, changed in made:
                self.inputs += 1
                write(self.path("b.melv"), changed)
                case, store = f"bundle-damage/{name}/{label}", self.fresh("s", like=beside)
                self.run(f"{case}/verify", "verify", "--full", "b.melv", store=store)
                self.run(f"{case}/inspect", "inspect", "b.melv", store=store)
                self.run(f"{case}/export", "export", "b.melv#two", "-", store=store, out="-")
                self.run(f"{case}/load", "load", "b.melv", "--replace", store=store, writes=True)

    def sound(self):
        """All that is to work: options of imports, formats, pipes, bundles, names; with two threads."""
        self.base()
        do = lambda name, *command, **more: self.run(f"sound/{name}", *command, **{"store": "s", "threads": 2, **more})
        disks = ["one.raw", "two.raw", "three.raw", "four.raw"]
        self.fresh("s")
        for number, options in enumerate((["--chunk", f"{1 << size}K"] for size in range(2, 13))):
            do(f"chunk-{number}", "import", disks[number % 4], "--name", f"chunk:{number}", *options, writes=True)
        for level in (1, 2, 3, 9, 19):
            new = self.fresh(f"l{level}")
            do(f"level-{level}", "import", disks[level % 4], "--name", "x", "--level", str(level), store=new, writes=True)
        for name in disks:
            do(f"inspect-{name}", "inspect", name)
            do(f"digest-{name}", "digest", name)
            do(f"digest-pipe-{name}", "digest", "-", stdin=read(self.path(name)))
            do(f"pipe-{name}", "import", "-", "--name", f"pipe:{name}", stdin=read(self.path(name)), writes=True)
        for number in range(10):
            blocks, tail = (0, 1, 255, 256, 257, 300, 511, 512, 513, 1030)[number], (512, 0, 3584)[number % 3]
            write(self.path("d.raw"), self.disk(f"size {number}", blocks, tail))
            do(f"size-{number}", "import", "d.raw", "--name", f"size:{number}", "--check-shared", writes=True)
            do(f"size-{number}-export", "export", f"size:{number}", "-", out="-")
        write(self.path("odd.raw"), b"odd" * 1000)
        do("pad", "import", "odd.raw", "--pad", writes=True)
        do("pad-digest", "digest", "odd.raw", "--pad")
        for name in ("one", "two", "three", "four"):
            do(f"map-{name}", "map", name, store="base")
            do(f"inspect-image-{name}", "inspect", name, store="base")
            for form, file in (("raw", "x.raw"), ("vmdk", "x.vmdk"), ("vmdk-stream", "y.vmdk")):
                do(f"export-{form}-{name}", "export", name, self.fresh(file), "--format", form, store="base", out=file)
                do(f"compare-{form}-{name}", "compare", name, file, store="base")
                do(f"inspect-{form}-{name}", "inspect", file)
                do(f"import-{form}-{name}", "import", file, "--name", f"{form}:{name}", writes=True)
            do(f"import-stream-{name}", "import", "-", "--name", f"stdin:{name}", stdin=read(self.path("y.vmdk")), writes=True)
            do(f"compare-other-{name}", "compare", name, "one.raw", store="base")
            do(f"compare-short-{name}", "compare", name, "-", store="base", stdin=read(self.path(f"{name}.raw"))[:8192])
        for name, options in (("again", []), ("force", ["--force"]), ("without", ["--without", "three"])):
            do(f"save-{name}", "save", "four", "c.melv", *options, store="base", out="c.melv")
        do("patch-alone", "load", "patch.melv", store=self.fresh("t"), writes=True)
        for number, name in enumerate(("base.melv", "patch.melv", "patch.melv", "base.melv#two", "c.melv")):
            do(f"load-{number}", "load", name, store="t", writes=True)
            do(f"import-bundle-{number}", "import", name, "--name", f"of:{number}", store="t", writes=True)
        lines = ("tag one uno", "tag two uno", "tag two uno --replace", "rm uno one", "rm one")
        for number, line in enumerate(lines):
            do(f"names-{number}", *line.split(), store="t", writes=True)
        do("from-command", "import", "--from-command", "--name", "cat", "--", "cat", "one.raw", writes=True)
        for store in ("s", "t", "base"):
            for command in (["ls"], ["df"], ["verify"], ["verify", "--full"]):
                do(f"{store}-{'-'.join(command)}", *command, store=store)

    def marks(self):
        """Files of every format that is known by a mark, and their marks cut short."""
        for name, (at, mark) in MARKS.items():
            for label, used in (("whole", mark), ("cut", mark[:-1])):
                self.inputs += 1
                data, begin = bytearray(65536), at % 65536
                data[begin : begin + len(used)] = used
                write(self.path("m"), bytes(data))
                write(self.path("m-short"), bytes(data[:600]))
                case = f"marks/{name}/{label}"
                self.run(f"{case}/inspect", "inspect", "m")
                self.run(f"{case}/digest", "digest", "m")
                self.run(f"{case}/import", "import", "m", "--name", "x", store=self.fresh("s"), writes=True)
                self.run(f"{case}/pipe", "import", "-", "--name", "x", store=self.fresh("s"), stdin=bytes(data), writes=True)
                self.run(f"{case}/short", "inspect", "m-short")

    def refusals(self):
        """The lines of the file `refusals`, each in a fresh folder; other users; a lock that is held."""
        self.base()
        bed = self.fresh("bed-kept")
        for name in ("one.raw", "two.raw", "three.raw", "four.raw", "base.melv", "patch.melv"):
            write(self.path(bed, name), read(self.path(name)))
        shutil.copytree(self.path("base"), self.path(bed, "s"))
        write(self.path(bed, "empty.raw"), b"")
        write(self.path(bed, "odd.raw"), b"odd" * 1000)
        write(self.path(bed, "___"), b"disk" * 128)
        os.makedirs(self.path(bed, "folder", "inside"))
        for number, line in enumerate(read(os.path.join(HERE, "refusals")).decode().splitlines(), 1):
            if line and not line.startswith("#"):
                self.inputs += 1
                self.shell(f"refusals/{number:03}", line, self.fresh("bed", like=bed))
        self.other_users()
        self.fresh("s", like="base")
        with open(self.path("s", "lock"), "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for line in ("tag one b", "import one.raw --name b", "load base.melv", "rm one", "ls", "verify --full"):
                command = line.split()
                self.run(f"refusals/locked/{command[0]}", *command, "--wait", "0", store="s", writes=True)

    def other_users(self):
        """A store of another user, and one that its user may only read, or not even that."""
        commands = {
            "ls": ["ls"], "verify": ["verify", "--full"], "export": ["export", "two", "-"], "tag": ["tag", "one", "b"],
            "import": ["import", "two.raw", "--name", "b"], "load": ["load", "base.melv"], "rm": ["rm", "one"], "df": ["df"],
            "trusted": ["tag", "one", "b", "--trust-owner"], "inspect": ["inspect", "two"],
        }
        for label, owner, mode, user in (
            ("of-another", 0, 0o755, NOBODY), ("open-to-all", 0, 0o777, NOBODY), ("read-only", NOBODY, 0o555, NOBODY),
            ("closed", NOBODY, 0o000, NOBODY), ("not-of-root", NOBODY, 0o755, 0), ("own", NOBODY, 0o755, NOBODY),
        ):
            for name, command in commands.items():
                self.inputs += 1
                self.fresh("s", like="base")
                for folder, _, files in os.walk(self.path("s"), topdown=False):
                    for place in [os.path.join(folder, file) for file in files] + [folder]:
                        os.chown(place, owner, owner)
                        os.chmod(place, mode if os.path.isdir(place) else mode & 0o666)
                out = "-" if name == "export" else None
                self.run(f"refusals/{label}/{name}", *command, store="s", out=out, writes=True, user=user)
