#!/usr/bin/env python3
"""Writes down what a binary is made of: an SBOM (CycloneDX 1.5) and the licenses of all crates.

    cross/components.py TARGET SBOM.cdx.json LICENSES.txt

Everything comes from `cargo metadata` and the crates' own files, so that the same Cargo.lock gives
the same bytes. Counted is what the binary is linked from on that target, and the macros that wrote
parts of it; not what only tests or builds use. The C library and Rust's own are named as well.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import uuid

LICENSE_NAME = re.compile(r"(?i)^(licen[sc]e|copying|notice|unlicense)")


def command(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def linked(metadata, target):
    """The packages that `hydrant` is linked from, sorted, and what each needs of them."""
    # The metadata also name what features would bring that nobody asks for; the tree does not.
    tree = command("cargo", "tree", "--locked", "-p", "hydrant", "--edges", "normal",
                   "--target", target, "--prefix", "none", "--format", "{p}")
    wanted = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = {
        package["id"]: package
        for package in metadata["packages"]
        if (package["name"], "v" + package["version"]) in wanted
    }
    needs = {
        node["id"]: sorted(i for i in node["dependencies"] if i in packages)
        for node in metadata["resolve"]["nodes"]
        if node["id"] in packages
    }
    order = sorted(packages, key=lambda i: (packages[i]["name"], packages[i]["version"]))
    return [packages[i] for i in order], needs


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    entry = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "licenses": [{"expression": package["license"].replace("/", " OR ")}],
    }
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("description"):
        entry["description"] = " ".join(package["description"].split())
    if package.get("repository"):
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def checksums_of_lock():
    """By name and version, what Cargo.lock expects of each crate."""
    found, name, version = {}, None, None
    with open("Cargo.lock", encoding="utf-8") as lock:
        for line in lock:
            key, _, value = line.strip().partition(" = ")
            value = value.strip('"')
            if key == "name":
                name = value
            elif key == "version":
                version = value
            elif key == "checksum":
                found[name, version] = value
    return found


def beneath():
    """What is not a crate of ours to choose: the libraries of Rust and C."""
    rust = command("rustc", "--version").split()[1]
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:generic/rust-std@{rust}",
            "name": "rust-std",
            "version": rust,
            "purl": f"pkg:generic/rust-std@{rust}",
            "licenses": [{"expression": "MIT OR Apache-2.0"}],
        },
        {
            "type": "library",
            "bom-ref": "pkg:generic/musl@1.2.5",
            "name": "musl",
            "version": "1.2.5",
            "purl": "pkg:generic/musl@1.2.5",
            "licenses": [{"expression": "MIT"}],
        },
    ]


def sbom(target, packages, needs, names):
    checksums = checksums_of_lock()
    (hydrant,) = [package for package in packages if package["name"] == "hydrant"]
    parts = [component(package, checksums) for package in packages if package is not hydrant]
    parts += beneath()
    text = json.dumps(parts, sort_keys=True)
    main = component(hydrant, checksums) | {"type": "application"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # Not random: the same parts have the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, target + text)}",
        "version": 1,
        "metadata": {
            "component": main,
            "properties": [{"name": "hydrant:target", "value": target}],
        },
        "components": parts,
        "dependencies": [
            {
                "ref": reference(package),
                "dependsOn": sorted(names[need] for need in needs[package["id"]]),
            }
            for package in packages
        ],
    }


def license_texts(package):
    folder = os.path.dirname(package["manifest_path"])
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if LICENSE_NAME.match(name) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                yield name, "\n".join(line.rstrip() for line in file.read().strip().splitlines())


def licenses(packages):
    """Every crate with its license, then every text once."""
    known, lines = {}, []
    lines.append("Hydrant contains these crates. Each text below is printed once.")
    lines.append("")
    for package in packages:
        numbers = []
        for _, text in license_texts(package):
            digest = hashlib.sha256(text.encode()).hexdigest()
            known.setdefault(digest, (len(known) + 1, text))
            numbers.append(f"[{known[digest][0]}]")
        authors = ", ".join(package["authors"])
        lines.append(f"{package['name']} {package['version']}: {package['license']}"
                     f" {' '.join(numbers)}" + (f" ({authors})" if authors else ""))
    lines.append("The Rust standard library: MIT OR Apache-2.0 (The Rust Project contributors)")
    lines.append("musl 1.2.5: MIT (Rich Felker and others)")
    for number, text in known.values():
        lines += ["", "-" * 72, f"[{number}]", "", text]
    return "\n".join(lines) + "\n"


def main():
    target, sbom_path, licenses_path = sys.argv[1:]
    metadata = json.loads(command(
        "cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    packages, needs = linked(metadata, target)
    missing = [package["name"] for package in packages if not package["license"]]
    if missing:
        sys.exit(f"no license is named by: {', '.join(missing)}")
    names = {package["id"]: reference(package) for package in packages}
    with open(sbom_path, "w", encoding="utf-8") as file:
        json.dump(sbom(target, packages, needs, names), file, indent=1)
        file.write("\n")
    with open(licenses_path, "w", encoding="utf-8") as file:
        file.write(licenses(packages))


main()
