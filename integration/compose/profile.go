package main

import (
	"context"
	"fmt"
	"time"
)

// tryRealProfile stops the workers, which must end with exit code 0, and starts the
// workers of the profile real. These are configured from the environment, as for a
// gateway elsewhere. The simulator plays that gateway. The directory of its key pair is
// mounted as from a host.
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
		// Both must be below ACK_WAIT.
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
	t.burst(ctx, 14)
	orders, err := t.settle()
	if err != nil {
		return err
	}
	r, err := s.check(ctx, orders)
	if err != nil {
		return err
	}
	for _, o := range orders[before:] {
		if res := r.Results[o.Key()]; o.KeyHash != "" && res.ProfileID != "tls-client" {
			return fmt.Errorf("%s: got profile %q, not the one in the environment", o.ID(), res.ProfileID)
		}
	}
	say(began, "the workers stopped with exit code 0; those of the profile real did %d requests", len(orders)-before)
	return nil
}
