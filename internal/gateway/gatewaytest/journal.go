package gatewaytest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// The kinds of journal records.
const (
	recHeader = 'H' // serial: the nonce
	recEnroll = 'E' // a new order, with its certificate if it was issued at once
	recSettle = 'S' // a pending order became issued or rejected
	recDecide = 'D' // an operator set the end of an order and its time
	recAction = 'R' // a certificate's standing changed
)

// record is one change of the store's state. The same code applies a change when it is made
// and when the journal is replayed.
type record struct {
	kind     byte
	num      uint32
	at       int64 // Unix nanoseconds
	due      int64
	state    state
	fate     state
	standing standing
	flaw     flaw
	shape    shape
	ca       uint8
	chain    bool
	packed   []byte
	cert     []byte
	serial   []byte
	reason   string
	comment  string
}

// append appends the encoding of r to b.
func (r *record) append(b []byte) []byte {
	b = append(b, r.kind, byte(r.state), byte(r.fate), byte(r.standing), byte(r.flaw), byte(r.shape), r.ca, 0)
	if r.chain {
		b[len(b)-1] = 1
	}
	b = binary.AppendUvarint(b, uint64(r.num))
	b = binary.AppendVarint(b, r.at)
	b = binary.AppendVarint(b, r.due)
	b = appendBytes(b, r.packed)
	b = appendBytes(b, r.cert)
	b = appendBytes(b, r.serial)
	b = appendBytes(b, r.reason)
	return appendBytes(b, r.comment)
}

func appendBytes[T []byte | string](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// decode is the inverse of append.
func (r *record) decode(b []byte) error {
	if len(b) < 8 {
		return io.ErrUnexpectedEOF
	}
	*r = record{
		kind: b[0], state: state(b[1]), fate: state(b[2]), standing: standing(b[3]),
		flaw: flaw(b[4]), shape: shape(b[5]), ca: b[6], chain: b[7] == 1,
	}
	b = b[8:]
	bad := false
	uvarint := func() uint64 {
		v, w := binary.Uvarint(b)
		if w <= 0 {
			bad, w = true, 0
		}
		b = b[w:]
		return v
	}
	varint := func() int64 {
		v, w := binary.Varint(b)
		if w <= 0 {
			bad, w = true, 0
		}
		b = b[w:]
		return v
	}
	bytes := func() []byte {
		n := uvarint()
		if bad || n > uint64(len(b)) {
			bad = true
			return nil
		}
		v := b[:n:n]
		b = b[n:]
		if n == 0 {
			return nil
		}
		return v
	}
	r.num, r.at, r.due = uint32(uvarint()), varint(), varint()
	r.packed, r.cert, r.serial = bytes(), bytes(), bytes()
	r.reason, r.comment = string(bytes()), string(bytes())
	if bad || len(b) != 0 {
		return errors.New("record is malformed")
	}
	return nil
}

// journal is the append-only file of records. Each record has its length and a checksum, so
// that a truncated record after a crash is recognised. It is not safe for concurrent use.
type journal struct {
	file *os.File
	buf  []byte
}

// openJournal passes the records of path to apply and opens the file for appending. It
// removes a truncated record at the end: its answer was never sent.
func openJournal(path string, apply func(*record)) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	whole, err := replay(file, apply)
	if err == nil {
		err = file.Truncate(whole)
	}
	if err == nil {
		_, err = file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("reading journal %q: %w", path, err)
	}
	return &journal{file: file}, nil
}

// replay applies the complete records of r and returns their length.
func replay(r io.Reader, apply func(*record)) (int64, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	var whole int64
	for {
		n, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		if n > 16<<20 {
			return whole, fmt.Errorf("record at offset %d is %d bytes long", whole, n)
		}
		frame := make([]byte, 4+n)
		if _, err := io.ReadFull(in, frame); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return whole, nil
		} else if err != nil {
			return whole, err
		}
		var rec record
		if binary.LittleEndian.Uint32(frame) != crc32.ChecksumIEEE(frame[4:]) {
			return whole, fmt.Errorf("record at offset %d: checksum does not match", whole)
		}
		if err := rec.decode(frame[4:]); err != nil {
			return whole, fmt.Errorf("record at offset %d: %w", whole, err)
		}
		apply(&rec)
		whole += int64(len(binary.AppendUvarint(nil, n))) + 4 + int64(n)
	}
}

// write appends one record with a single write(2).
func (j *journal) write(r *record) error {
	if j == nil {
		return nil
	}
	const room = binary.MaxVarintLen64 + 4
	j.buf = append(j.buf[:0], make([]byte, room)...)
	j.buf = r.append(j.buf)
	body := j.buf[room:]
	var head [room]byte
	h := binary.AppendUvarint(head[:0], uint64(len(body)))
	h = binary.LittleEndian.AppendUint32(h, crc32.ChecksumIEEE(body))
	start := room - len(h)
	copy(j.buf[start:], h)
	if _, err := j.file.Write(j.buf[start:]); err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}
