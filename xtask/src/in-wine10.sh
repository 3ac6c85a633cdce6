# in-wine10.sh ROOT PROJECT PROGRAM [ARGUMENT...]
#
# Runs a program in the Debian of the folder ROOT. It sees the folder PROJECT and /tmp at their own paths, and starts in
# the current folder. The mounts are in a namespace of this process and vanish with it: no other process sees them, so
# deleting ROOT never deletes PROJECT.
set -eu
exec unshare --mount --propagation private sh -euc '
    root=$1 project=$2
    shift 2
    mkdir -p "$root$project"
    mount --rbind "$project" "$root$project"
    mount --rbind /tmp "$root/tmp"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    exec chroot "$root" sh -euc "cd \"\$1\"; shift; exec \"\$@\"" sh "$PWD" "$@"
' sh "$@"
