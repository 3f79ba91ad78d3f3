//go:build integration && unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/pflag"
)

// runNATS in the environment makes the test binary the nats command, for a machine that has none.
const runNATS = "ENTRUST_SANDBOX_RUN_NATS"

func init() {
	if os.Getenv(runNATS) == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := runNATSCommand(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "nats: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// natsCommand does with nats.go what the nats command does.
type natsCommand struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	args []string // behind the verb

	last, stdin                 bool
	headers                     []string
	inbox, subject, filter, ack string
	count                       int
}

// natsVerbs are the verbs that the pages use, with the flags that they need and may have. The
// test refuses all others.
var natsVerbs = map[string]struct {
	run        func(*natsCommand, context.Context) error
	needs, may []string
	args       int
}{
	"pub":           {(*natsCommand).publish, []string{"jetstream"}, []string{"force-stdin", "header"}, 2},
	"sub":           {(*natsCommand).subscribe, []string{"raw", "count"}, []string{"last"}, 1},
	"req":           {(*natsCommand).request, []string{"raw"}, nil, 2},
	"request":       {(*natsCommand).request, []string{"raw"}, nil, 2},
	"stream get":    {(*natsCommand).streamGet, []string{"json", "last-for"}, nil, 1},
	"consumer add":  {(*natsCommand).consumerAdd, []string{"pull", "filter", "ack", "defaults"}, nil, 2},
	"consumer next": {(*natsCommand).consumerNext, []string{"raw"}, nil, 2},
}

func runNATSCommand(ctx context.Context, args []string) error {
	var c natsCommand
	f := pflag.NewFlagSet("nats", pflag.ContinueOnError)
	f.BoolP("jetstream", "J", false, "")
	f.StringArrayVarP(&c.headers, "header", "H", nil, "")
	f.BoolVar(&c.stdin, "force-stdin", false, "")
	f.BoolVar(&c.last, "last", false, "")
	f.IntVar(&c.count, "count", 0, "")
	f.StringVar(&c.inbox, "inbox-prefix", "_INBOX", "")
	f.StringVar(&c.subject, "last-for", "", "")
	f.StringVar(&c.filter, "filter", "", "")
	f.StringVar(&c.ack, "ack", "", "")
	for _, name := range []string{"raw", "json", "pull", "defaults"} {
		f.Bool(name, false, "")
	}
	if err := f.Parse(args); err != nil {
		return fmt.Errorf("%w; if the nats command has the flag, add it to the test", err)
	}
	if c.args = f.Args(); len(c.args) < 2 {
		return errors.New("a verb and its arguments are missing")
	}
	name := c.args[0]
	if c.args = c.args[1:]; name == "stream" || name == "consumer" {
		name, c.args = name+" "+c.args[0], c.args[1:]
	}
	verb, ok := natsVerbs[name]
	if !ok {
		return fmt.Errorf("the test has no verb %q; add it, as the nats command has it", name)
	}
	var wrong []string
	f.Visit(func(flag *pflag.Flag) {
		if !slices.Contains(slices.Concat(verb.needs, verb.may, []string{"inbox-prefix"}), flag.Name) {
			wrong = append(wrong, flag.Name)
		}
	})
	for _, need := range verb.needs {
		if !f.Changed(need) {
			wrong = append(wrong, need)
		}
	}
	if c.stdin {
		body, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		c.args = append(c.args, string(body))
	}
	if len(wrong) > 0 || len(c.args) != verb.args {
		return fmt.Errorf("the test has %s with other flags (see %q) or arguments (%q)", name, wrong, c.args)
	}
	var err error
	if c.nc, err = nats.Connect(os.Getenv("NATS_URL"), nats.CustomInboxPrefix(c.inbox)); err != nil {
		return err
	}
	defer c.nc.Close()
	if c.js, err = jetstream.New(c.nc); err != nil {
		return err
	}
	return verb.run(&c, ctx)
}

func (c *natsCommand) publish(ctx context.Context) error {
	m := nats.NewMsg(c.args[0])
	m.Data = []byte(c.args[1])
	for _, h := range c.headers {
		key, value, ok := strings.Cut(h, ":")
		if !ok {
			return fmt.Errorf("header %q has no colon", h)
		}
		m.Header.Add(key, value)
	}
	ack, err := c.js.PublishMsg(ctx, m)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Stored in Stream: %s Sequence: %d\n", ack.Stream, ack.Sequence)
	return nil
}

// subscribe prints messages, from the last one of its stream on if told to.
func (c *natsCommand) subscribe(ctx context.Context) error {
	messages := make(chan []byte, 64)
	if c.last {
		stream, err := c.js.StreamNameBySubject(ctx, c.args[0])
		if err != nil {
			return fmt.Errorf("finding the stream of %s: %w", c.args[0], err)
		}
		cons, err := c.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
			FilterSubjects: c.args, DeliverPolicy: jetstream.DeliverLastPolicy,
		})
		if err != nil {
			return err
		}
		if _, err := cons.Consume(func(m jetstream.Msg) { messages <- m.Data() }); err != nil {
			return err
		}
	} else if _, err := c.nc.Subscribe(c.args[0], func(m *nats.Msg) { messages <- m.Data }); err != nil {
		return err
	}
	for range c.count {
		select {
		case m := <-messages:
			fmt.Println(string(m))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *natsCommand) request(ctx context.Context) error {
	m, err := c.nc.RequestWithContext(ctx, c.args[0], []byte(c.args[1]))
	if err != nil {
		return fmt.Errorf("request on %s: %w", c.args[0], err)
	}
	fmt.Println(string(m.Data))
	return nil
}

func (c *natsCommand) streamGet(ctx context.Context) error {
	stream, err := c.js.Stream(ctx, c.args[0])
	if err != nil {
		return err
	}
	m, err := stream.GetLastMsgForSubject(ctx, c.subject)
	if err != nil {
		return fmt.Errorf("%s: %w", c.subject, err)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"subject": m.Subject, "seq": m.Sequence, "data": m.Data, "time": m.Time})
}

func (c *natsCommand) consumerAdd(ctx context.Context) error {
	if c.ack != "explicit" {
		return errors.New("the test has --ack explicit")
	}
	_, err := c.js.CreateConsumer(ctx, c.args[0], jetstream.ConsumerConfig{
		Durable: c.args[1], FilterSubject: c.filter, AckPolicy: jetstream.AckExplicitPolicy,
	})
	return err
}

// consumerNext asks for a message and for nothing about the consumer, as the nats command does:
// a producer has no right to more.
func (c *natsCommand) consumerNext(ctx context.Context) error {
	m, err := c.nc.RequestWithContext(ctx, "$JS.API.CONSUMER.MSG.NEXT."+c.args[0]+"."+c.args[1], []byte("1"))
	if err != nil {
		return err
	}
	fmt.Println(string(m.Data))
	if err := m.Respond(nil); err != nil {
		return err
	}
	return c.nc.Flush()
}
