package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// sandbox is everything that runs.
type sandbox struct {
	folder  *folder
	bus     *bus
	gw      *gatewaytest.Server
	web     *web // nil without workers
	workers []*rig.InProcess
}

// run is the whole of a sandbox: up, batch, summary, and up until ctx is done.
func (o *options) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	say := stderr
	if o.quiet {
		say = io.Discard
	}
	s := new(sandbox)
	defer func() { err = errors.Join(err, s.close()) }()
	if s.folder, err = openFolder(o.data); err != nil {
		return err
	}
	// Before anything is started: a batch of other flags is a mistake.
	batch, err := openBatch(s.folder.path, o.plan, o.chosen)
	if err != nil {
		return err
	}
	if err := s.start(ctx, o, stderr); err != nil {
		return err
	}
	guide, err := s.newGuide(o)
	if err != nil {
		return err
	}
	guide.arrival(say, batch)

	producer, err := newProducer(s.bus, batch, newProgress(stderr, o.quiet))
	if err != nil {
		return err
	}
	begun := time.Now()
	err = producer.run(ctx, o.giveUp+o.approveAfter, o.workers == 0)
	if errors.Is(err, errInterrupted) && !s.folder.own {
		return fmt.Errorf("%w; the same command continues the batch", err)
	}
	if err != nil {
		return err
	}
	took := time.Since(begun)
	report, err := s.check(ctx, o, batch, producer.outcomes(), took)
	if err != nil {
		return err
	}
	if err := report.print(stdout, stderr, o.json); err != nil {
		return err
	}
	if !o.once {
		after := &live{out: say}
		if err := after.watch(ctx, s.bus, func() { guide.departure(say) }); err != nil {
			return err
		}
	}
	if n := len(report.Findings); n > 0 {
		return fmt.Errorf("the batch did not end as planned: %d findings", n)
	}
	return nil
}

// start brings everything up.
func (s *sandbox) start(ctx context.Context, o *options, stderr io.Writer) error {
	var err error
	if s.gw, err = startGateway(s.folder.path, o); err != nil {
		return fmt.Errorf("starting the gateway simulator: %w", err)
	}
	if s.bus, err = startBus(ctx, s.folder.path, o.addr); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if !o.verbose {
		out, err := s.folder.file("worker.log")
		if err != nil {
			return fmt.Errorf("opening the worker's log: %w", err)
		}
		log = slog.New(slog.NewTextHandler(out, nil))
	}
	if o.workers > 0 {
		if s.web, err = startWeb(ctx, o.httpAddr); err != nil {
			return err
		}
		if err := s.web.servePage(ctx, s.bus, log); err != nil {
			return err
		}
	}
	for i := range o.workers {
		w, err := startWorker(ctx, s.bus, s.gw, o, s.web.metrics(i+1), log)
		if err != nil {
			return fmt.Errorf("starting a worker: %w", err)
		}
		s.workers = append(s.workers, w)
	}
	return nil
}

// defaultGatewayAddr is where the gateway is if it can be, so that a worker
// still knows it after the sandbox was started again.
const defaultGatewayAddr = "127.0.0.1:8443"

func startGateway(dir string, o *options) (*gatewaytest.Server, error) {
	speaks, err := simulated(o.dialect)
	if err != nil {
		return nil, err
	}
	cfg := gatewaytest.Config{
		Addr: defaultGatewayAddr, AdminAddr: "127.0.0.1:0",
		Dir: filepath.Join(dir, "gateway"), Persist: true,
		Dialect: speaks, Seed: o.plan.Seed, Latency: o.latency,
		// Zero would leave the orders to be approved by hand.
		ApproveAfter: max(o.approveAfter, time.Millisecond),
	}
	gw, err := gatewaytest.Start(cfg)
	if errors.Is(err, syscall.EADDRINUSE) {
		cfg.Addr = "127.0.0.1:0"
		gw, err = gatewaytest.Start(cfg)
	}
	return gw, err
}

// close ends everything that was started, the worker first.
func (s *sandbox) close() error {
	errs := []error{rig.StopAll(s.workers)}
	if s.web != nil {
		s.web.close()
	}
	if s.bus != nil {
		s.bus.close()
	}
	if s.gw != nil {
		errs = append(errs, s.gw.Close())
	}
	if s.folder != nil {
		errs = append(errs, s.folder.close())
	}
	return errors.Join(errs...)
}
