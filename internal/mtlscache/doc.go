// Package mtlscache keeps the client key pair and the HTTP transport that shows
// it, and notices on the next call when the pair was replaced on disk.
//
// A [Cache] is an [http.RoundTripper]. Each call first stats the files, which
// costs one system call for each and allocates nothing; as long as none changed,
// all calls share one transport and its connections. A change of any file, in any
// direction (modification or change time forwards or backwards, size, inode,
// device; through symbolic links), leads to one reload, whatever the number of
// calls that notice it, and to a new transport. Calls in flight finish on the old
// one, whose connections are closed as they become idle.
//
// # What a call does with the files
//
//	files on disk                                    the call
//	unchanged                                        uses the transport there is
//	changed, same certificates (a touch, a chmod)    uses the transport there is
//	changed, a complete pair                         uses a new transport; Reloads +1
//	changed, incomplete: key of another certificate, uses the old pair for at most
//	  empty, truncated, not permitted, being written   HalfRotationWait, then fails
//	missing, or stat fails                           fails
//
// A failure is a [*KeyPairError], is returned by every call until the files are
// good again, and heals without a restart. It says nothing about the request:
// callers should wait, not give up.
//
// The change time counts because an in-place copy can keep inode, size and
// modification time. File systems stamp in ticks of up to two seconds, so
// the cache compares the content of a file that was younger than that when it was
// read once more, two seconds later.
//
// A rotation by symbolic links (a Kubernetes volume), by a new directory (systemd
// credentials of a restarted unit) and by rename or writing in place are seen
// alike. Not seen is the renaming of a file over one that is bind-mounted by
// itself, such as a subPath volume or a single file given to a container: the
// mount keeps showing the old inode. Mount the directory.
//
// # What a file may hold
//
// Certificates and keys are read in any order: the key tells which certificate is
// the client's, and its issuers follow it from leaf to root. A certificate that Go
// refuses, such as one of negative serial number, is left out as long as the rest
// is of use, and [Cache.Warnings] names it. PKCS#12 may be BER.
//
// An expired client certificate is still used, and [Cache.NotAfter] reports when
// it expires: only the gateway decides whether it is too old.
package mtlscache
