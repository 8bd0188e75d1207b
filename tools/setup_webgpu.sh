#!/bin/bash
# Sets WebGPU up on a Debian whose release does not package it: Dawn (run-time library and C header), the Vulkan loader
# and lavapipe, all of a newer release together with their C library, in a private folder. The system is not touched.
#   tools/setup_webgpu.sh [--swiftshader] [FOLDER]     FOLDER: build/webgpu
# --swiftshader also takes SwiftShader out of the chromium-common package (a download of about 32 MB).
# WEBGPU_SUITE names the newer release (forky). The mirror is the one that this machine's own apt sources name.
#
# What is there afterwards
#   FOLDER/run                starts a program with these libraries: FOLDER/run build/doppler devices
#   FOLDER/include            the header that the build looks for: configure again afterwards
#   FOLDER/tree               the unpacked packages
#   FOLDER/versions           what was installed
set -eu
cd "$(dirname "$0")/.."
swiftshader=
[ "${1:-}" != --swiftshader ] || { swiftshader=chromium-common; shift; }
folder=${1:-build/webgpu}
suite=${WEBGPU_SUITE:-forky}
packages="libwebgpu-dawn0 libvulkan1 mesa-vulkan-drivers"

fail() { echo "setup_webgpu.sh: $*" >&2; exit 1; }

for tool in apt-get apt-cache dpkg; do
    command -v $tool >/dev/null || fail "$tool is missing: this script is for Debian. Elsewhere, install Dawn and its header webgpu/webgpu.h by other means"
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
arch=$(dpkg --print-architecture)

# ---- an apt of its own: nothing of the system's state is read but the sources ----

mirror() {
    local release
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(IDENTIFIER)|' |
        awk -F'|' -v r="$release" '$3 == "main" && $4 == "Packages" && $2 == r { print $1; exit }'
}
from=$(mirror)
[ -n "$from" ] || fail "this machine's apt sources name no Debian mirror with the component main"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keyring ] || fail "$keyring is missing: install debian-archive-keyring"

apt=$folder/apt
mkdir -p "$apt"/etc/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} "$apt"/state/lists/partial "$apt"/cache/archives/partial
: >"$apt/state/status" # no package counts as installed, so that the C library comes too
echo "deb [signed-by=$keyring] $from $suite main" >"$apt/etc/sources.list"
cat >"$apt/apt.conf" <<CONF
Dir::Etc "$apt/etc";
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
export APT_CONFIG=$apt/apt.conf

echo "package lists of $suite"
apt-get -qq update || fail "the package lists of $suite could not be read from this machine's mirror"
apt-cache show libwebgpu-dawn0 >/dev/null 2>&1 || fail "$suite has no libwebgpu-dawn0; try WEBGPU_SUITE=sid"

# ---- download and unpack ----

echo "downloading"
# shellcheck disable=SC2086
apt-get -qq -y --download-only install $packages >"$apt/log" 2>&1 || { tail -5 "$apt/log" >&2; fail "download failed"; }
mkdir -p "$apt/single"
(cd "$apt/single" && apt-get -qq download libwebgpu-dawn-dev $swiftshader) >>"$apt/log" 2>&1 ||
    { tail -5 "$apt/log" >&2; fail "download failed"; }

tree=$folder/tree
rm -rf "$tree.new" "$folder/include"
mkdir -p "$tree.new/usr/lib" "$tree.new/usr/bin" "$tree.new/usr/lib64"
for name in lib bin lib64; do ln -s usr/$name "$tree.new/$name"; done
for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$tree.new"; done
mkdir "$folder/include"
dpkg --fsys-tarfile "$apt"/single/libwebgpu-dawn-dev_*.deb |
    tar -x -C "$folder/include" --strip-components=3 ./usr/include/webgpu/webgpu.h ./usr/include/dawn/webgpu.h
[ -e "$folder/include/webgpu/webgpu.h" ] && [ -e "$folder/include/dawn/webgpu.h" ] || fail "libwebgpu-dawn-dev holds no webgpu/webgpu.h"
if [ -n "$swiftshader" ]; then
    dpkg --fsys-tarfile "$apt"/single/chromium-common_*.deb |
        tar -x -C "$tree.new" --wildcards './usr/lib/chromium/libvk_swiftshader.so'
elif [ -e "$tree/usr/lib/chromium" ]; then
    mv "$tree/usr/lib/chromium" "$tree.new/usr/lib/"
fi
rm -rf "$tree"
mv "$tree.new" "$tree"
for package in "$apt"/cache/archives/*.deb "$apt"/single/*.deb; do
    dpkg-deb --show --showformat '${Package} ${Version}\n' "$package"
done | sort -u >"$folder/versions"
rm -rf "$apt"

# ---- Vulkan driver files (paths relative to the file, so that the folder can be moved) and the launcher ----

mkdir -p "$folder/drivers"
driver() { # driver NAME LIBRARY
    printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}\n' "$2" >"$folder/drivers/$1.json"
}
libraries=$(cd "$tree" && ls -d usr/lib/*-linux-gnu*)
driver lavapipe "../tree/$libraries/libvulkan_lvp.so"
driver nvidia libEGL_nvidia.so.0 # the one that also works without a display
[ ! -e "$tree/usr/lib/chromium/libvk_swiftshader.so" ] || driver swiftshader ../tree/usr/lib/chromium/libvk_swiftshader.so

cat >"$folder/run" <<'RUN'
#!/bin/sh
# Starts a program with the WebGPU libraries of this folder and their C library.
#   run [--lavapipe | --swiftshader | --nvidia | --system] PROGRAM [ARGUMENT...]
# The Vulkan driver is the one named; without a name VK_DRIVER_FILES decides, else lavapipe. --system: all that the system has.
here=$(cd "$(dirname "$0")" && pwd)
driver=
case ${1:-} in --lavapipe | --swiftshader | --nvidia | --system) driver=${1#--}; shift ;; esac
[ $# != 0 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
[ -n "$driver" ] || [ -n "${VK_DRIVER_FILES:-}" ] || driver=lavapipe
case $driver in
'') ;;
system) unset VK_DRIVER_FILES VK_ICD_FILENAMES ;;
*)
    [ -e "$here/drivers/$driver.json" ] || { echo "run: no driver $driver here: tools/setup_webgpu.sh --$driver gets it" >&2; exit 2; }
    export VK_DRIVER_FILES="$here/drivers/$driver.json" VK_ICD_FILENAMES="$here/drivers/$driver.json"
    ;;
esac
program=$(command -v -- "$1") || { echo "run: $1: not found" >&2; exit 127; }
shift
set -- "$program" "$@"
for libraries in "$here"/tree/usr/lib/*-linux-gnu*; do break; done
for loader in "$libraries"/ld-linux-*.so.? "$here"/tree/usr/lib*/ld-linux-*.so.?; do [ ! -e "$loader" ] || break; done
exec "$loader" --library-path "$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
RUN
chmod +x "$folder/run"

"$folder/run" /bin/true || fail "a program does not start with the libraries in $folder"
grep -E '^(libwebgpu-dawn0|mesa-vulkan-drivers|libvulkan1|libc6|chromium-common) ' "$folder/versions"
echo "WebGPU is in $folder. Configure and build again, then start programs with $folder/run"
