// Package issuer has the methods of certctl's issuer interface over the bus of entrust-worker, with types of its own of
// the same shape: an adapter in certctl is thirty lines, which docs/certctl.md shows. It needs nothing beyond entrustbus.
//
// # Ids that survive retries
//
// certctl calls IssueCertificate again for a job that failed, and a job that certctl makes the key for comes with a new
// certificate request each time. A second request under another id would be a second enrollment. The id of an order is
// therefore made of what the caller gives, without the certificate request:
//
//   - of a job id, where the context has one (WithJobID): one order for each job;
//   - else of RenewalRequest.OrderID: one order renews another once;
//   - else of what is asked for (issue or renew, names, profile, CA, usages, cap, must-staple) and a window of time: what is
//     asked for again within Config.WindowSeconds is the same order.
//
// An order that exists is waited for and not submitted again, whatever certificate request comes with the retry. Its
// certificate is returned only for the key that it was issued for; a retry with another key gets ErrOtherKey. Nothing is
// kept in the process: the ids are found on the bus again after a restart.
//
// Two cases are not detected: a request that no worker has begun when its window ends, and a retry by a machine whose clock
// is in the window before. Both may be a second enrollment.
//
// # Waiting
//
// certctl gives all jobs of one tick a single context of two minutes, and stores a result without a certificate as a
// success. IssueCertificate therefore waits for Config.WaitSeconds only, and then returns ErrPending: the order goes on,
// and the next call for it takes up the waiting.
package issuer
