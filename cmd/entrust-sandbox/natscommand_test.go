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

// runNATS in the environment makes the test binary the nats command, for pages whose commands
// need it on a machine that has none.
const runNATS = "ENTRUST_SANDBOX_RUN_NATS"

// natsMain is the main function of that command. It returns the exit code.
func natsMain() int {
	c := natsCommand{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if err := c.run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "nats: %v\n", err)
		return 1
	}
	return 0
}

// natsCommand does with nats.go what the nats command does. It has the verbs and flags that the
// pages use, and refuses all others.
type natsCommand struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	nc *nats.Conn
	js jetstream.JetStream
}

// natsTimeout is the nats command's own default.
const natsTimeout = 5 * time.Second

func (c *natsCommand) run(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("nats", pflag.ContinueOnError)
	f.SetInterspersed(false)
	inbox := f.String("inbox-prefix", nats.InboxPrefix[:len(nats.InboxPrefix)-1], "")
	server := f.StringP("server", "s", os.Getenv("NATS_URL"), "")
	args, err := parse(f, args, 2, 100)
	if err != nil {
		return err
	}
	if c.nc, err = nats.Connect(*server, nats.CustomInboxPrefix(*inbox)); err != nil {
		return err
	}
	defer c.nc.Close()
	if c.js, err = jetstream.New(c.nc); err != nil {
		return err
	}
	verb, args := args[0], args[1:]
	if verb == "stream" || verb == "consumer" {
		verb, args = verb+" "+args[0], args[1:]
	}
	switch verb {
	case "pub", "publish":
		return c.publish(ctx, args)
	case "sub", "subscribe":
		return c.subscribe(ctx, args)
	case "req", "request":
		return c.request(ctx, args)
	case "stream get":
		return c.streamGet(ctx, args)
	case "consumer add":
		return c.consumerAdd(ctx, args)
	case "consumer next":
		return c.consumerNext(ctx, args)
	}
	return fmt.Errorf("the test has no verb %q; add it, as the nats command has it", verb)
}

// parse reads the flags of a verb, and returns its arguments: least to most of them.
func parse(f *pflag.FlagSet, args []string, least, most int) ([]string, error) {
	if err := f.Parse(args); err != nil {
		return nil, fmt.Errorf("%w; if the nats command has the flag, add it to the test", err)
	}
	if n := f.NArg(); n < least || n > most {
		return nil, fmt.Errorf("%d arguments %q, want %d to %d", n, f.Args(), least, most)
	}
	return f.Args(), nil
}

// message is what publish and request send.
func message(subject, body string, headers []string) (*nats.Msg, error) {
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for _, h := range headers {
		key, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, fmt.Errorf("header %q has no colon", h)
		}
		m.Header.Add(strings.TrimSpace(key), strings.TrimSpace(value))
	}
	return m, nil
}

func (c *natsCommand) publish(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("pub", pflag.ContinueOnError)
	stored := f.BoolP("jetstream", "J", false, "")
	stdin := f.Bool("force-stdin", false, "")
	headers := f.StringArrayP("header", "H", nil, "")
	args, err := parse(f, args, 1, 2)
	if err != nil {
		return err
	}
	var body string
	if len(args) == 2 {
		body = args[1]
	} else if *stdin {
		all, err := io.ReadAll(c.stdin)
		if err != nil {
			return err
		}
		body = string(all)
	}
	m, err := message(args[0], body, *headers)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "Published %d bytes to %q\n", len(body), args[0])
	if !*stored {
		if err := c.nc.PublishMsg(m); err != nil {
			return err
		}
		return c.nc.FlushTimeout(natsTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	ack, err := c.js.PublishMsg(ctx, m)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "Stored in Stream: %s Sequence: %d\n", ack.Stream, ack.Sequence)
	return nil
}

func (c *natsCommand) subscribe(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("sub", pflag.ContinueOnError)
	last := f.Bool("last", false, "")
	raw := f.BoolP("raw", "r", false, "")
	count := f.Int("count", 0, "")
	args, err := parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	subject := args[0]
	next, err := c.follow(ctx, subject, *last)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		at, header, data, err := next()
		if err != nil {
			return err
		}
		if !*raw {
			fmt.Fprintf(c.stdout, "[#%d] Received on %q\n", n, at)
			c.print(header)
		}
		fmt.Fprintln(c.stdout, string(data))
		if n == *count {
			return nil
		}
	}
}

// follow subscribes to a subject, in its stream from the last message on if told to. What it
// returns waits for the next message.
func (c *natsCommand) follow(ctx context.Context, subject string, last bool) (func() (string, nats.Header, []byte, error), error) {
	if !last {
		sub, err := c.nc.SubscribeSync(subject)
		if err != nil {
			return nil, err
		}
		return func() (string, nats.Header, []byte, error) {
			m, err := sub.NextMsgWithContext(ctx)
			if err != nil {
				return "", nil, nil, err
			}
			return m.Subject, m.Header, m.Data, nil
		}, nil
	}
	stream, err := c.js.StreamNameBySubject(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("finding the stream of %s: %w", subject, err)
	}
	cons, err := c.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverLastPolicy,
	})
	if err != nil {
		return nil, err
	}
	messages, err := cons.Messages()
	if err != nil {
		return nil, err
	}
	return func() (string, nats.Header, []byte, error) {
		m, err := messages.Next()
		if err != nil {
			return "", nil, nil, err
		}
		return m.Subject(), m.Headers(), m.Data(), nil
	}, nil
}

func (c *natsCommand) request(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("request", pflag.ContinueOnError)
	raw := f.BoolP("raw", "r", false, "")
	headers := f.StringArrayP("header", "H", nil, "")
	args, err := parse(f, args, 1, 2)
	if err != nil {
		return err
	}
	m, err := message(args[0], strings.Join(args[1:], ""), *headers)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	answer, err := c.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return fmt.Errorf("request on %s: %w", args[0], err)
	}
	if !*raw {
		c.print(answer.Header)
	}
	fmt.Fprintln(c.stdout, string(answer.Data))
	return nil
}

func (c *natsCommand) streamGet(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("stream get", pflag.ContinueOnError)
	subject := f.StringP("last-for", "S", "", "")
	asJSON := f.BoolP("json", "j", false, "")
	args, err := parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	stream, err := c.js.Stream(ctx, args[0])
	if err != nil {
		return err
	}
	m, err := stream.GetLastMsgForSubject(ctx, *subject)
	if err != nil {
		return fmt.Errorf("%s: %w", *subject, err)
	}
	if *asJSON {
		return json.NewEncoder(c.stdout).Encode(map[string]any{"subject": m.Subject, "seq": m.Sequence, "data": m.Data, "time": m.Time})
	}
	fmt.Fprintf(c.stdout, "Item: %s#%d received %v on Subject %s\n\n", args[0], m.Sequence, m.Time, m.Subject)
	c.print(m.Header)
	fmt.Fprintln(c.stdout, string(m.Data))
	return nil
}

func (c *natsCommand) consumerAdd(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("consumer add", pflag.ContinueOnError)
	pull := f.Bool("pull", false, "")
	filter := f.String("filter", "", "")
	ack := f.String("ack", "", "")
	defaults := f.Bool("defaults", false, "")
	args, err := parse(f, args, 2, 2)
	if err != nil {
		return err
	}
	if !*pull || !*defaults || *ack != "explicit" {
		return errors.New("the test adds pull consumers with --ack explicit --defaults only; the nats command asks for the rest")
	}
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	cons, err := c.js.CreateConsumer(ctx, args[0], jetstream.ConsumerConfig{Durable: args[1], FilterSubject: *filter, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Information for Consumer %s > %s\n", args[0], cons.CachedInfo().Name)
	return nil
}

func (c *natsCommand) consumerNext(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("consumer next", pflag.ContinueOnError)
	raw := f.BoolP("raw", "r", false, "")
	args, err := parse(f, args, 2, 2)
	if err != nil {
		return err
	}
	// As the nats command does, this asks for a message and for nothing about the consumer:
	// a producer has no right to more.
	answer, err := c.nc.Request("$JS.API.CONSUMER.MSG.NEXT."+args[0]+"."+args[1], []byte("1"), natsTimeout)
	if err != nil {
		return err
	}
	if !*raw {
		c.print(answer.Header)
	}
	fmt.Fprintln(c.stdout, string(answer.Data))
	if err := answer.Respond(nil); err != nil {
		return err
	}
	return c.nc.FlushTimeout(natsTimeout)
}

func (c *natsCommand) print(header nats.Header) {
	for key, values := range header {
		for _, value := range values {
			fmt.Fprintf(c.stdout, "%s: %s\n", key, value)
		}
	}
	fmt.Fprintln(c.stdout)
}
