// Package mtlscache keeps the client key pair and the HTTP transport that shows
// it, and notices on the next call when the pair was replaced on disk.
//
// A [Cache] is an [http.RoundTripper]. Each call first finds out whether a file
// changed, which costs one system call and allocates nothing; as long as none
// did, all calls share one transport and its connections. A change of any file,
// in any direction (modification or change time forwards or backwards, size,
// inode, device; through symbolic links), leads to one reload, whatever the
// number of calls that notice it, and to a new transport. Calls in flight finish
// on the old one, whose connections are closed as they become idle.
//
// # How a change is noticed
//
// Linux queues what happens to the files, and to the directories and links that
// lead to them, before the system call that does it returns (inotify). A call
// asks whether the queue is empty, so the next one after a change is told. The
// queue stays silent about a mount over a part of the path and about stores
// through a memory mapping until it is closed; therefore a call also stats the
// files when that was last done 10 ms ago or longer.
//
// Every call stats every file by its path on other systems, where a file is on
// an overlay or a path leads through a file system of the network or FUSE, and
// where the user has no inotify instance left (fs.inotify.max_user_instances).
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
// a pair that was young when it was read is compared once more two seconds later,
// and at once where the queue tells of a change that shows in no stamp.
//
// An expired client certificate is still used, and [Cache.NotAfter] tells: only
// the gateway decides whether it is too old.
package mtlscache
