# Sourced by `build` and `install-toolchain`: which Rust on this machine can compile for a microcontroller.
#
# Either the ordinary one (rustup, with the target added), or Debian's rustc in /usr/bin, with the target's core library
# that `install-toolchain` has built for it. Both are judged by what they can do, not by what is said to be installed.

# can_compile RUSTC TARGET: does this compiler make a link-time-optimised image for the target?
can_compile() {
  command -v "$1" >/dev/null || return 1
  # A look first, because it takes no time: an absent target would fail below anyway.
  compgen -G "$("$1" --print target-libdir --target "$2" 2>/dev/null)/libcore-*.rlib" >/dev/null || return 1
  local dir status=0
  dir=$(mktemp -d)
  printf '#![no_std]\n#[panic_handler] fn halt(_: &core::panic::PanicInfo) -> ! { loop {} }\n' |
    "$1" --target "$2" --crate-name probe --crate-type staticlib -C lto=fat -C panic=abort --out-dir "$dir" - \
      >/dev/null 2>&1 || status=1
  rm -rf "$dir"
  return $status
}

# use_toolchain TARGET: makes `firmware_cargo` run cargo with a compiler that has the target; 1 if there is none.
use_toolchain() {
  if [ "$(command -v rustc)" != /usr/bin/rustc ] && can_compile rustc "$1"; then
    firmware_cargo() { cargo "$@"; }
  elif can_compile /usr/bin/rustc "$1"; then
    # Debian has no rust-lld; its lld is the same program. cargo looks for subcommands in ~/.cargo/bin before /usr/bin,
    # so Debian's clippy has to be called by its path.
    local linker=CARGO_TARGET_${1^^}_LINKER
    export "${linker//[-.]/_}=ld.lld" RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo
    firmware_cargo() {
      if [ "$1" = clippy ]; then /usr/bin/cargo-clippy "$@"; else /usr/bin/cargo "$@"; fi
    }
  else
    return 1
  fi
}
