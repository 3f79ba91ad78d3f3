// Package mtlscache keeps the client key pair and the HTTP transport that shows
// it, and notices on the next call when the pair was replaced on disk.
//
// A [Cache] is an [http.RoundTripper]. Each call first stats the files, which
// costs about a microsecond and allocates nothing; as long as none changed, all
// calls share one transport and its connections. A change of any file, in any
// direction (modification or change time forwards or backwards, size, inode,
// device; through symbolic links), leads to one reload, whatever the number of
// calls that notice it, and to a new transport. Calls in flight finish on the
// old one, whose connections are closed as they become idle.
//
// # What a look at the files leads to
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
// a pair that was young when it was read is compared once more two seconds later.
//
// An expired client certificate is still used, and [Cache.NotAfter] tells: only
// the gateway decides whether it is too old.
package mtlscache
