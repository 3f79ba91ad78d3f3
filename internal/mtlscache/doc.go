// Package mtlscache keeps the client key pair and the HTTP transport that uses
// it. The next call notices if the pair was replaced on disk.
//
// A [Cache] is an [http.RoundTripper]. Each call first stats the files, which
// costs one system call for each file and allocates nothing. While no file
// changes, all calls share one transport and its connections. Any change of any
// file leads to one reload and a new transport, however many calls notice it. A
// change is another modification or change time (forwards or backwards), size,
// inode or device; symbolic links are followed. Calls in flight finish on the old
// transport, whose connections the cache closes as they become idle.
//
// # What a call does with the files
//
//	files on disk                                    the call
//	unchanged                                        uses the current transport
//	changed, same certificates (a touch, a chmod)    uses the current transport
//	changed, a complete pair                         uses a new transport; Reloads +1
//	changed, incomplete: key of another certificate, uses the old pair for at most
//	  empty, truncated, not permitted, being written   HalfRotationWait, then fails
//	missing, or stat fails                           fails
//
// A failure is a [*KeyPairError]. Every call returns it until the files are good
// again; no restart is needed. It says nothing about the request: callers should
// wait, not end the request.
//
// The change time counts because an in-place copy can keep inode, size and
// modification time. File systems stamp in ticks of up to two seconds. If a file
// was younger than that when it was read, the cache compares its content once
// more, two seconds later.
//
// The cache notices rotations by symbolic links (a Kubernetes volume), by a new
// directory (systemd credentials of a restarted unit), by rename and by writing in
// place. It cannot notice a rename over a file that is bind-mounted by itself,
// such as a subPath volume or a single file given to a container: the mount keeps
// the old inode. Mount the directory.
//
// # What a file may hold
//
// Certificates and keys may come in any order. The certificate that matches the key
// is the client's; the cache sends it with its issuers, from leaf to root. It
// leaves out a certificate that Go refuses, such as one with a negative serial
// number, if the rest can be used; [Cache.Warnings] names it. PKCS#12 may be BER.
//
// The cache still uses an expired client certificate: only the gateway decides
// whether it is too old. [Cache.NotAfter] reports when it expires.
package mtlscache
