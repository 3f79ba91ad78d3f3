package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tryRealProfile stops the workers, which must go in peace, and starts those of the
// profile real, configured from the environment as for a gateway elsewhere. The
// simulator plays that one; the folder of its key pair is given as on a host.
func (s *system) tryRealProfile(ctx context.Context, t *traffic, began time.Time) (err error) {
	if _, err := s.run(ctx, nil, "stop", "worker"); err != nil {
		return err
	}
	for _, id := range s.workers {
		code, err := s.docker(ctx, "inspect", "--format", "{{.State.ExitCode}}", id)
		if err != nil {
			return err
		}
		if code != "0" {
			return fmt.Errorf("stopping worker %.12s: exit code %s", id, code)
		}
	}
	credentials, err := s.docker(ctx, "volume", "inspect", "--format", "{{.Mountpoint}}", s.project+"_keys")
	if err != nil {
		return err
	}
	env := []string{
		"ENTRUST_CREDENTIALS=" + credentials,
		"CERTCTL_ENTRUST_API_URL=https://simulator:8443",
		"CERTCTL_ENTRUST_CA_ID=sim~issuing",
		"CERTCTL_ENTRUST_PROFILE_ID=tls-client",
		"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH=/run/entrust/ca.crt",
		// Below ACK_WAIT, as they must be.
		"ENTRUST_WORKER_GATEWAY_TIMEOUT=5s",
		"ENTRUST_WORKER_GATEWAY_CONNECT_TIMEOUT=5s",
	}
	if _, err := s.run(ctx, env, "--profile", "real", "up", "--detach", "worker-real"); err != nil {
		return err
	}
	ids, err := s.containers(ctx, "worker-real")
	if err != nil {
		return err
	}
	if len(ids) != 2 {
		return fmt.Errorf("counting workers of the profile real: got %d, want 2", len(ids))
	}
	if err := s.healthy(ctx, ids...); err != nil {
		return err
	}
	before := len(t.orders)
	if err := t.burst(ctx, 14); err != nil {
		return err
	}
	orders, err := t.settle()
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range orders[before:] {
		errs = append(errs, o.judge())
		if o.result != nil && o.result.ProfileID != "tls-client" {
			errs = append(errs, fmt.Errorf("%s: got profile %q, not the one in the environment", o.request.ID, o.result.ProfileID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	say(began, "the workers stopped in peace; those of the profile real did %d orders", len(orders)-before)
	return nil
}
