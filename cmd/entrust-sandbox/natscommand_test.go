//go:build integration && unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
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

// natsCommand does with nats.go what the nats command does. It has the verbs and flags that the
// pages use, and refuses all others.
type natsCommand struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	flags *pflag.FlagSet // of the verb
	args  []string       // behind the verb
}

func runNATSCommand(ctx context.Context, args []string) error {
	global := pflag.NewFlagSet("nats", pflag.ContinueOnError)
	global.SetInterspersed(false)
	inbox := global.String("inbox-prefix", "_INBOX", "")
	if err := global.Parse(args); err != nil {
		return err
	}
	if args = global.Args(); len(args) < 2 {
		return errors.New("a verb and its arguments are missing")
	}
	verb, args := args[0], args[1:]
	if verb == "stream" || verb == "consumer" {
		verb, args = verb+" "+args[0], args[1:]
	}
	c := natsCommand{flags: pflag.NewFlagSet(verb, pflag.ContinueOnError), args: args}
	run := map[string]func(context.Context) error{
		"pub": c.publish, "sub": c.subscribe, "req": c.request, "request": c.request,
		"stream get": c.streamGet, "consumer add": c.consumerAdd, "consumer next": c.consumerNext,
	}[verb]
	if run == nil {
		return fmt.Errorf("the test has no verb %q; add it, as the nats command has it", verb)
	}
	var err error
	if c.nc, err = nats.Connect(os.Getenv("NATS_URL"), nats.CustomInboxPrefix(*inbox)); err != nil {
		return err
	}
	defer c.nc.Close()
	if c.js, err = jetstream.New(c.nc); err != nil {
		return err
	}
	return run(ctx)
}

// parse reads the flags of a verb, and leaves its arguments: least to most of them.
func (c *natsCommand) parse(least, most int) error {
	if err := c.flags.Parse(c.args); err != nil {
		return fmt.Errorf("%w; if the nats command has the flag, add it to the test", err)
	}
	if c.args = c.flags.Args(); len(c.args) < least || len(c.args) > most {
		return fmt.Errorf("%d arguments %q, want %d to %d", len(c.args), c.args, least, most)
	}
	return nil
}

func (c *natsCommand) publish(ctx context.Context) error {
	stored := c.flags.BoolP("jetstream", "J", false, "")
	stdin := c.flags.Bool("force-stdin", false, "")
	headers := c.flags.StringArrayP("header", "H", nil, "")
	if err := c.parse(1, 2); err != nil {
		return err
	}
	if !*stored || *stdin == (len(c.args) == 2) {
		return errors.New("the test publishes with -J, and one body")
	}
	m := nats.NewMsg(c.args[0])
	if *stdin {
		var err error
		if m.Data, err = io.ReadAll(os.Stdin); err != nil {
			return err
		}
	} else {
		m.Data = []byte(c.args[1])
	}
	for _, h := range *headers {
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

// subscribe prints one message, from the last one of its stream on if told to.
func (c *natsCommand) subscribe(ctx context.Context) error {
	last := c.flags.Bool("last", false, "")
	raw := c.flags.Bool("raw", false, "")
	count := c.flags.Int("count", 0, "")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if !*raw || *count != 1 {
		return errors.New("the test subscribes with --count=1 --raw")
	}
	if !*last {
		sub, err := c.nc.SubscribeSync(c.args[0])
		if err != nil {
			return err
		}
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		return printed(m.Data)
	}
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
	m, err := cons.Next(jetstream.FetchMaxWait(time.Minute))
	if err != nil {
		return err
	}
	return printed(m.Data())
}

func (c *natsCommand) request(ctx context.Context) error {
	raw := c.flags.Bool("raw", false, "")
	if err := c.parse(2, 2); err != nil {
		return err
	}
	if !*raw {
		return errors.New("the test requests with --raw")
	}
	m, err := c.nc.RequestWithContext(ctx, c.args[0], []byte(c.args[1]))
	if err != nil {
		return fmt.Errorf("request on %s: %w", c.args[0], err)
	}
	return printed(m.Data)
}

func (c *natsCommand) streamGet(ctx context.Context) error {
	subject := c.flags.String("last-for", "", "")
	asJSON := c.flags.Bool("json", false, "")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if !*asJSON {
		return errors.New("the test gets with --json")
	}
	stream, err := c.js.Stream(ctx, c.args[0])
	if err != nil {
		return err
	}
	m, err := stream.GetLastMsgForSubject(ctx, *subject)
	if err != nil {
		return fmt.Errorf("%s: %w", *subject, err)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"subject": m.Subject, "seq": m.Sequence, "data": m.Data, "time": m.Time})
}

func (c *natsCommand) consumerAdd(ctx context.Context) error {
	pull := c.flags.Bool("pull", false, "")
	filter := c.flags.String("filter", "", "")
	ack := c.flags.String("ack", "", "")
	defaults := c.flags.Bool("defaults", false, "")
	if err := c.parse(2, 2); err != nil {
		return err
	}
	if !*pull || !*defaults || *ack != "explicit" {
		return errors.New("the test adds pull consumers with --ack explicit --defaults; the nats command asks for the rest")
	}
	_, err := c.js.CreateConsumer(ctx, c.args[0], jetstream.ConsumerConfig{
		Durable: c.args[1], FilterSubject: *filter, AckPolicy: jetstream.AckExplicitPolicy,
	})
	return err
}

// consumerNext asks for a message and for nothing about the consumer, as the nats command does:
// a producer has no right to more.
func (c *natsCommand) consumerNext(ctx context.Context) error {
	raw := c.flags.Bool("raw", false, "")
	if err := c.parse(2, 2); err != nil {
		return err
	}
	if !*raw {
		return errors.New("the test takes with --raw")
	}
	m, err := c.nc.RequestWithContext(ctx, "$JS.API.CONSUMER.MSG.NEXT."+c.args[0]+"."+c.args[1], []byte("1"))
	if err != nil {
		return err
	}
	if err := errors.Join(printed(m.Data), m.Respond(nil)); err != nil {
		return err
	}
	return c.nc.Flush()
}

// printed writes a body, and a line feed.
func printed(body []byte) error {
	_, err := fmt.Println(string(body))
	return err
}
