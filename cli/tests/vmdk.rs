//! VMware's disks as input and output.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod common;

use common::{Bed, bed, disk, noise};
use serde_json::Value;

const KINDS: [&str; 5] =
    ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"];

/// A disk as raw, and as each kind of VMDK that qemu-img writes: `monolithicSparse.vmdk`, …
fn converted() -> Bed {
    let bed = bed();
    bed.write("disk.raw", &disk());
    for kind in KINDS {
        let line = format!("qemu-img convert -f raw -O vmdk -o subformat={kind} disk.raw {kind}.vmdk");
        bed.sh(&line).exits(0);
    }
    bed
}

#[test]
fn one_disk_has_one_content_id_whatever_it_comes_in() {
    let bed = converted();
    let raw = bed.json(&["import", "disk.raw", "--name", "raw"]);
    let expected = (raw["content"].clone(), raw["image"].clone());
    for kind in KINDS {
        let file = format!("{kind}.vmdk");
        assert_eq!(bed.json(&["digest", &file])["content"], expected.0, "{kind}");
        assert_eq!(bed.json(&["digest", &file, "--format", "vmdk"])["content"], expected.0, "{kind}");
        let json = bed.json(&["import", &file, "--name", &kind.to_lowercase()]);
        assert_eq!((&json["content"], &json["image"]), (&expected.0, &expected.1), "{kind}");
        assert_eq!((&json["new_bytes"], &json["warnings"]), (&0.into(), &Value::Array(Vec::new())));
        assert_eq!(bed.json(&["compare", "raw", &file])["same"], true, "{kind}");
        let told = bed.json(&["inspect", &format!("./{file}")]);
        assert_eq!((&told["format"], &told["create_type"]), (&"vmdk".into(), &kind.into()));
        assert_eq!((&told["size"], told["chain"].as_array().unwrap().len()), (&disk().len().into(), 1));
        assert_eq!(told["extents"].as_array().unwrap().len(), 1, "{told}");
    }
    let pipe =
        bed.sh("cat streamOptimized.vmdk | melv import - --format vmdk --name pipe --json").exits(0).json();
    assert_eq!((&pipe["content"], &pipe["image"]), (&expected.0, &expected.1));
    let digest = bed.sh("cat streamOptimized.vmdk | melv digest - --format vmdk --json").exits(0).json();
    assert_eq!((&digest["content"], &digest["size"]), (&expected.0, &disk().len().into()));
    bed.melv(&["save", "raw", "disk.melv"]).exits(0);
    assert_eq!(bed.json(&["digest", "disk.melv"])["content"], expected.0);
    bed.melv(&["compare", "disk.melv", "streamOptimized.vmdk"]).exits(0);
    assert_eq!(bed.json(&["import", "monolithicFlat.vmdk", "--replace"])["name"], "monolithicflat:latest");
}

#[test]
fn exports_are_read_by_others_and_come_back() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let content = bed.json(&["import", "disk.raw", "--name", "web"])["content"].clone();
    bed.melv(&["save", "web", "web.melv"]).exits(0);
    for (format, file) in [("vmdk", "sparse.vmdk"), ("vmdk-stream", "stream.vmdk")] {
        let json = bed.json(&["export", "web", file, "--format", format]);
        assert_eq!(json["bytes"], bed.read(file).len());
        bed.sh(&format!("qemu-img check -f vmdk {file}")).exits(0);
        bed.sh(&format!("qemu-img compare -f vmdk -F raw {file} disk.raw")).exits(0);
        assert_eq!(bed.json(&["digest", file])["content"], content, "{format}");
        assert_eq!(bed.json(&["import", file, "--name", format])["new_bytes"], 0);
        // Equal disks make equal files, with any number of threads and also from a bundle.
        let before = bed.read(file);
        bed.melv(&["export", "web", file, "--format", format]).exits(1).says(file).says("--force");
        let threads = ["--threads", "1", "export", "web.melv", file, "--format", format, "--force"];
        bed.melv(&threads).exits(0);
        assert!(bed.read(file) == before, "{format}");
        bed.melv(&["export", "web", "no/such.vmdk", "--format", format]).exits(1).says("no/such.vmdk");
    }
    let line =
        "melv export web - --format vmdk-stream --json | tee piped.vmdk | melv digest - --format vmdk --json";
    let ran = bed.sh(line).exits(0);
    assert_eq!(ran.json()["content"], content);
    let told: Value = serde_json::from_str(&ran.stderr()).unwrap();
    assert_eq!(told["bytes"], bed.read("piped.vmdk").len());
    bed.sh("qemu-img compare -f vmdk -F raw piped.vmdk disk.raw").exits(0);
}

#[test]
fn exports_that_cannot_be_are_refused() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    bed.melv(&["import", "disk.raw", "--name", "web"]).exits(0);
    let ran = bed.melv(&["export", "web", "-", "--format", "vmdk"]).exits(2).says("vmdk-stream");
    assert!(ran.stdout().is_empty());
    bed.melv(&["export", "web", "a\"b.vmdk", "--format", "vmdk"]).exits(2).says("file name");
    bed.melv(&["export", "web", "/dev/null", "--format", "vmdk"]).exits(2);
    bed.sh("trap '' XFSZ; ulimit -f 300; exec melv export web out.vmdk --format vmdk").exits(15);
    bed.sh("trap '' XFSZ; ulimit -f 300; exec melv export web out.vmdk --format vmdk-stream").exits(15);
    bed.sh("melv export web - --format vmdk-stream >/dev/full").exits(15).says("standard output");
    assert!(!bed.path("out.vmdk").exists());
    let ran =
        bed.sh("{ melv export web - --format vmdk-stream; echo $? >code; } | head -c 100 >part").exits(0);
    assert_eq!((ran.stderr().as_str(), bed.read("code")), ("", b"1\n".to_vec()));
    common::import_empty(&bed);
    bed.melv(&["export", "empty", "empty.vmdk", "--format", "vmdk"]).exits(2);
    // A name that suggests a VMDK causes a note; -q suppresses it.
    bed.melv(&["export", "web", "raw.vmdk"]).exits(0).says("written as raw").says("--format vmdk");
    assert_eq!(bed.melv(&["export", "web", "q.vmdk", "-q"]).exits(0).stderr(), "");
    assert_eq!(bed.melv(&["export", "web", "r.vmdk", "--format", "raw"]).exits(0).stderr(), "");
}

#[test]
fn what_is_odd_is_told_and_read() {
    let bed = converted();
    let mut unclean = bed.read("monolithicSparse.vmdk");
    unclean[72] = 1;
    bed.write("unclean.vmdk", &unclean);
    let ran = bed.melv(&["import", "unclean.vmdk", "--json"]).exits(0).says("warning").says("closed cleanly");
    let warnings = ran.json()["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().contains("unclean.vmdk"), "{warnings}");
    for arguments in [
        &["digest", "unclean.vmdk"][..],
        &["compare", "unclean", "unclean.vmdk"],
        &["inspect", "./unclean.vmdk"],
    ] {
        let ran = bed.melv(&[arguments, &["--json"]].concat()).exits(0).says("closed cleanly");
        assert_eq!(ran.json()["warnings"].as_array().unwrap().len(), 1, "{arguments:?}");
        assert_eq!(bed.melv(&[arguments, &["-q"]].concat()).exits(0).stderr(), "");
    }
    bed.melv(&["export", "unclean", "stream.vmdk", "--format", "vmdk-stream"]).exits(0);
    bed.sh("head -c 512 /dev/zero >>stream.vmdk").exits(0);
    let ran = bed.sh("melv import - --format vmdk --name padded <stream.vmdk").exits(0);
    ran.says("512 bytes follow");
}

/// Returns a descriptor with this extent line, for files beside it.
fn descriptor(extent: &str) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
         createType=\"monolithicFlat\"\n\n# Extent description\n{extent}\n"
    )
}

#[test]
fn exit_4_descriptors_that_name_what_they_must_not() {
    let bed = bed();
    bed.write("secret", &noise(1, 4096));
    bed.sh("mkdir folder && cp secret folder/ && ln -s ../secret folder/link && mkfifo folder/pipe").exits(0);
    let absolute = bed.path("secret").display().to_string();
    for (name, why) in [
        (absolute.as_str(), "absolute path"),
        ("../secret", "a path"),
        ("..", "folder"),
        ("sub/secret", "a path"),
        ("link", "symbolic link"),
        ("/dev/zero", "absolute path"),
        ("pipe", "pipe"),
        ("http://example.com/disk", "URL"),
        ("bad.vmdk", "the descriptor itself"),
        ("", "empty name"),
    ] {
        let text = descriptor(&format!("RW 8 FLAT \"{name}\" 0"));
        bed.write("folder/bad.vmdk", text.as_bytes());
        for command in [&["import"][..], &["digest"], &["inspect"], &["import", "--format", "vmdk"]] {
            let ran = bed.melv(&[command, &["folder/bad.vmdk"]].concat()).exits(4);
            ran.says("folder/bad.vmdk").says(why).says("beside the descriptor").says("hint");
        }
    }
    bed.write("folder/good.vmdk", descriptor("RW 8 FLAT \"secret\" 0").as_bytes());
    let content = bed.json(&["digest", "secret"])["content"].clone();
    assert_eq!(bed.json(&["digest", "folder/good.vmdk"])["content"], content);
    assert!(!bed.store().exists(), "no store is made for what cannot be imported");
}

#[test]
fn exit_13_an_extent_that_is_not_there() {
    let bed = converted();
    for kind in ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"] {
        let json = bed.json(&["inspect", &format!("./{kind}.vmdk")]);
        let extent = json["extents"][0]["file"].as_str().unwrap().to_owned();
        std::fs::remove_file(bed.path(&extent)).unwrap();
        for command in ["import", "digest", "inspect"] {
            let ran = bed.melv(&[command, &format!("./{kind}.vmdk")]).exits(13);
            ran.says(&extent).says("all of them into one folder");
        }
    }
    bed.melv(&["import", "none.vmdk"]).exits(13).says("none.vmdk");
}

#[test]
fn exit_4_disks_that_are_not_sound() {
    let bed = converted();
    let stream = bed.read("streamOptimized.vmdk");
    for len in [512, 4096, 70_000, stream.len() / 2, stream.len() - (65 << 10)] {
        bed.write("cut.vmdk", &stream[..len]);
        bed.melv(&["import", "cut.vmdk"]).exits(4).says("cut.vmdk").says("byte");
        bed.sh("melv import - --format vmdk --name cut <cut.vmdk").exits(4).says("standard input");
        bed.sh("melv digest - --format vmdk <cut.vmdk").exits(4).says("byte");
        assert!(bed.melv(&["ls", "--json"]).stdout().is_empty() || bed.json(&["ls"])["images"][0].is_null());
    }
    let mut sparse = bed.read("monolithicSparse.vmdk");
    sparse.truncate(sparse.len() - 65536);
    bed.write("cut.vmdk", &sparse);
    bed.melv(&["digest", "cut.vmdk"]).exits(4).says("cut.vmdk");
    let mut mark = vec![0; 8192];
    mark[..4].copy_from_slice(b"KDMV");
    mark[4..8].copy_from_slice(&1_u32.to_le_bytes());
    bed.write("mark.img", &mark);
    bed.melv(&["import", "mark.img"]).exits(4).says("mark.img").says("--format raw");
    bed.melv(&["import", "mark.img", "--format", "raw", "--name", "raw"]).exits(0);
    bed.melv(&["compare", "raw", "mark.img", "--format", "raw"]).exits(0);
    // The format given does not make a VMDK of a file without its magic bytes.
    bed.melv(&["import", "disk.raw", "--format", "vmdk"]).exits(4).says("KDMV").says("without --format");
    bed.sh("melv import - --format vmdk --name x <disk.raw").exits(4).says("KDMV");
}

#[test]
fn exit_14_kinds_that_are_not_read() {
    let bed = converted();
    bed.sh("qemu-img create -f vmdk -b monolithicSparse.vmdk -F vmdk child.vmdk").exits(0);
    bed.melv(&["import", "child.vmdk"]).exits(14).says("child.vmdk").says("qemu-img");
    let told = bed.json(&["inspect", "./child.vmdk"]);
    assert_eq!((&told["format"], &told["size"]), (&"vmdk".into(), &disk().len().into()));
    assert_eq!(told["parent"]["file"], "monolithicSparse.vmdk");
    assert!(told["unsupported"].as_str().unwrap().contains("parent"), "{told}");
    bed.write("esx.vmdk", &[b"COWD".to_vec(), noise(1, 4092)].concat());
    bed.melv(&["import", "esx.vmdk"]).exits(14).says("VMDK");
    bed.melv(&["import", "esx.vmdk", "--format", "vmdk"]).exits(14).says("COWD");
    // The format of a pipe is detected from its content, unless --format gives it.
    let by_path = bed.json(&["digest", "streamOptimized.vmdk"])["content"].clone();
    for line in ["melv import - --name stream --json", "melv digest - --json"] {
        let ran = bed.sh(&format!("{line} <streamOptimized.vmdk")).exits(0);
        assert_eq!((&ran.json()["content"], ran.stderr()), (&by_path, String::new()));
    }
    let ran = bed.sh("melv import - --name raw --format raw <streamOptimized.vmdk").exits(0);
    assert_eq!(ran.stderr(), "");
    let ran = bed.sh("melv digest - --format raw <streamOptimized.vmdk").exits(0);
    assert_eq!(ran.stderr(), "");
    bed.melv(&["compare", "raw", "streamOptimized.vmdk", "--format", "raw"]).exits(0);
    // Only streams can be read from a pipe.
    for file in ["monolithicSparse.vmdk", "monolithicFlat.vmdk"] {
        bed.sh(&format!("melv import - --format vmdk --name x <{file}")).exits(14).says("give");
    }
}

#[test]
fn exit_14_a_difference_tells_its_parent_from_a_file_and_from_a_pipe() {
    let bed = converted();
    bed.melv(&["import", "disk.raw", "--name", "raw"]).exits(0);
    let uuid = "9f8e7d6c-5b4a-3928-1706-f5e4d3c2b1a0";
    let add = |kind: &str, line: &str| {
        let mut vmdk = bed.read(&format!("{kind}.vmdk"));
        let end = (512..).find(|&at| vmdk[at] == 0).unwrap();
        vmdk[end..end + line.len()].copy_from_slice(line.as_bytes());
        bed.write("diff.vmdk", &vmdk);
    };
    for line in [format!("ddb.uuid.parent=\"{uuid}\"\n"), format!("DDB.UUID.PARENT = {{{uuid}}}\r\n")] {
        for kind in ["monolithicSparse", "streamOptimized"] {
            add(kind, &line);
            for arguments in [
                &["import", "diff.vmdk"][..],
                &["import", "diff.vmdk", "--format", "vmdk"],
                &["digest", "diff.vmdk"],
                &["compare", "raw", "diff.vmdk"],
            ] {
                bed.melv(arguments).exits(14).says("diff.vmdk").says(uuid).says("VBoxManage clonemedium");
            }
            let told = bed.json(&["inspect", "./diff.vmdk"]);
            assert_eq!((&told["format"], &told["size"]), (&"vmdk".into(), &disk().len().into()));
            assert_eq!((&told["parent"]["uuid"], &told["create_type"]), (&uuid.into(), &kind.into()));
            let text = bed.melv(&["inspect", "./diff.vmdk"]).exits(0).stdout();
            assert!(text.contains("\nparent ") && text.contains(uuid), "{text}");
        }
        for command in ["import - --format vmdk --name x", "digest - --format vmdk"] {
            bed.sh(&format!("melv {command} <diff.vmdk")).exits(14).says("standard input").says(uuid);
        }
    }
    // Every disk of VirtualBox has these zero ids, and no parent.
    let zeros = "00000000-0000-0000-0000-000000000000";
    add(
        "monolithicSparse",
        &format!("ddb.uuid.parent=\"{zeros}\"\nddb.uuid.parentmodification=\"{zeros}\"\n"),
    );
    bed.melv(&["compare", "raw", "diff.vmdk"]).exits(0);
    // ESX's own formats record their size.
    let mut cowd = [b"COWD".to_vec(), vec![0; 2044]].concat();
    cowd[12..16].copy_from_slice(&2048_u32.to_le_bytes());
    bed.write("delta.vmdk", &cowd);
    assert_eq!(bed.json(&["inspect", "./delta.vmdk"])["size"], 1 << 20);
}

#[test]
fn zeros_behind_a_stream_do_no_harm_from_a_file_and_from_a_pipe() {
    let bed = bed();
    bed.write("disk.raw", &disk());
    let content = bed.json(&["import", "disk.raw", "--name", "web"])["content"].clone();
    bed.melv(&["export", "web", "big.vmdk", "--format", "vmdk-stream"]).exits(0);
    bed.sh("truncate -s +2M big.vmdk").exits(0);
    let told = bed.json(&["digest", "big.vmdk"]);
    assert_eq!(told["content"], content);
    assert!(told["warnings"][0].as_str().unwrap().contains("2097152 bytes follow"), "{told}");
    let piped = bed.sh("melv digest - --format vmdk --json <big.vmdk").exits(0).json();
    assert_eq!(piped["content"], content);
}

#[test]
fn what_is_left_out_without_a_fault_is_told_also_in_json() {
    let bed = bed();
    bed.write("v-flat.vmdk", &noise(3, 8192));
    let text = descriptor("RW 8 FLAT \"v-flat.vmdk\" 0");
    bed.write("v.vmdk", text.as_bytes());
    let warned = |arguments: &[&str], wanted: &str| {
        for quiet in [&["--json"][..], &["--json", "-q"]] {
            let ran = bed
                .melv(&[arguments, quiet, &["--replace"][..usize::from(arguments[0] == "import")]].concat());
            let json = ran.exits(0).json();
            let warnings = json["warnings"].as_array().unwrap();
            assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains(wanted)), "{json}");
        }
    };
    warned(&["import", "v.vmdk"], "v-flat.vmdk: it has 4096 more bytes than the descriptor uses");
    warned(&["digest", "v-flat.vmdk"], "only a piece of the disk that \"v.vmdk\" beside it describes");
    warned(
        &["import", "v-flat.vmdk", "--name", "v"],
        "only a piece of the disk that \"v.vmdk\" beside it describes",
    );
    let child = text.replace("parentCID=ffffffff", "parentCID=fffffffe\nparentFileNameHint=\"v.vmdk\"");
    bed.write("v-000001.vmdk", child.replace("v-flat", "v-delta").as_bytes());
    warned(&["import", "v.vmdk"], "\"v-000001.vmdk\" beside it is a later snapshot");
    bed.melv(&["import", "v-000001.vmdk"]).exits(14).says("v.vmdk");
    // An explicit raw format gives no warning.
    let json = bed.json(&["digest", "v-flat.vmdk", "--format", "raw"]);
    assert_eq!(json["warnings"], Value::Array(Vec::new()));
}

#[test]
fn sectors_of_4096_bytes_go_with_the_disk() {
    let bed = bed();
    bed.write("k.raw", &disk());
    let plain = bed.json(&["import", "k.raw", "--name", "plain"]);
    let text =
        descriptor(&format!("RW {} FLAT \"k.raw\" 0\nddb.logicalSectorSize = \"4096\"", disk().len() / 512));
    bed.write("k.vmdk", text.as_bytes());
    let json = bed.json(&["import", "k.vmdk"]);
    assert!(json["warnings"][0].as_str().unwrap().contains("losetup -b 4096"), "{json}");
    assert_eq!((&json["content"], json["image"] == plain["image"]), (&plain["content"], false));
    assert_eq!(bed.json(&["inspect", "k"])["sector_size"], 4096);
    assert_eq!(bed.json(&["inspect", "plain"])["sector_size"], 512);
    assert_eq!(bed.json(&["inspect", "./k.vmdk"])["sector_size"], 4096);
    assert!(bed.melv(&["inspect", "k"]).exits(0).stdout().contains("\nsectors   4.00 KiB"));
    for (format, file) in [("vmdk", "out.vmdk"), ("vmdk-stream", "stream.vmdk")] {
        bed.melv(&["export", "k", file, "--format", format]).exits(0);
        let text = String::from_utf8_lossy(&bed.read(file)[512..11_000]).into_owned();
        assert!(text.contains("ddb.logicalSectorSize = \"4096\""), "{text}");
        assert_eq!(
            bed.json(&["import", file, "--name", "again", "--replace"])["image"],
            json["image"],
            "{format}"
        );
    }
    let piped =
        bed.sh("melv import - --format vmdk --name again --replace --json <stream.vmdk").exits(0).json();
    assert_eq!(piped["image"], json["image"]);
    bed.melv(&["save", "k", "k.melv"]).exits(0);
    bed.melv(&["rm", "k"]).exits(0);
    bed.melv(&["load", "k.melv"]).exits(0);
    assert_eq!(bed.json(&["inspect", "k"])["sector_size"], 4096);
    assert_eq!(bed.json(&["import", "k.melv", "--replace"])["image"], json["image"]);
    bed.melv(&["export", "plain", "plain.vmdk", "--format", "vmdk"]).exits(0);
    assert!(!String::from_utf8_lossy(&bed.read("plain.vmdk")[512..11_000]).contains("SectorSize"));
}

#[test]
fn disks_over_devices_are_read_where_those_are_plain_files_and_else_refused_by_name() {
    let bed = bed();
    bed.write("image.img", &noise(5, 4096));
    let content = bed.json(&["digest", "image.img"])["content"].clone();
    let text = |line: &str| descriptor(line).replace("monolithicFlat", "fullDevice");
    bed.write("image.vmdk", text("RW 8 FLAT \"image.img\" 0").as_bytes());
    assert_eq!(bed.json(&["digest", "image.vmdk"])["content"], content);
    bed.write("device.vmdk", text("RW 8 FLAT \"/dev/sda\" 0").as_bytes());
    bed.melv(&["import", "device.vmdk"])
        .exits(14)
        .says("fullDevice")
        .says("/dev/sda")
        .says("give it directly");
    bed.melv(&["inspect", "./device.vmdk"]).exits(0);
    // A sparse header without capacity that contains the descriptor of a flat disk.
    let mut header = vec![0; 21 * 512];
    header[..4].copy_from_slice(b"KDMV");
    for (at, value) in [(4, 1u64), (8, 3), (20, 128), (28, 1), (36, 20), (44, 512), (64, 128)] {
        header[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    }
    header[73..77].copy_from_slice(b"\n \r\n");
    let text = descriptor("RW 8 FLAT \"image.img\" 0");
    header[512..512 + text.len()].copy_from_slice(text.as_bytes());
    bed.write("emb.vmdk", &header);
    assert_eq!(bed.json(&["digest", "emb.vmdk"])["content"], content);
    bed.sh("melv digest - --format vmdk <emb.vmdk").exits(14).says("as a file");
}

#[test]
fn exit_13_names_the_file_that_almost_is_the_missing_extent() {
    let bed = bed();
    bed.write("Gro\u{308}\u{df}e-flat.vmdk", &noise(5, 4096));
    bed.write("g.vmdk", descriptor("RW 8 FLAT \"Gr\u{f6}\u{df}e-flat.vmdk\" 0").as_bytes());
    bed.melv(&["import", "g.vmdk"])
        .exits(13)
        .says("differs only in case")
        .says("Gro\\u{308}\u{df}e-flat.vmdk");
}
