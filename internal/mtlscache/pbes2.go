package mtlscache

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// maxIterations bounds the time for deriving a key from a password to seconds. Tools
// use 2,048 to 1,000,000 rounds.
const maxIterations = 10_000_000

// errPassword means that the password is wrong.
var errPassword = errors.New("the password does not open it")

// An unsupportedError names an algorithm or form that this package does not support.
type unsupportedError struct{ what string }

func (e unsupportedError) Error() string { return "uses " + e.what + ", which is not supported" }

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// decryptPBES2 decrypts with a password (RFC 8018, section 6.2). It returns
// errPassword for a wrong password, which the padding shows in 255 of 256 cases and
// the content in the others. It returns an unsupportedError for an unsupported
// algorithm.
func decryptPBES2(algorithm pkix.AlgorithmIdentifier, ciphertext []byte, password string) ([]byte, error) {
	var (
		params struct{ Key, Cipher pkix.AlgorithmIdentifier }
		key    struct {
			Salt   []byte
			Rounds int
			Size   int                      `asn1:"optional"` // the cipher defines it too
			Hash   pkix.AlgorithmIdentifier `asn1:"optional"`
		}
		iv []byte
	)
	if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, err
	}
	if !params.Key.Algorithm.Equal(oidPBKDF2) {
		return nil, unsupportedError{"key derivation " + params.Key.Algorithm.String()}
	}
	newCipher, size := blockCipher(params.Cipher.Algorithm)
	if newCipher == nil {
		return nil, unsupportedError{"cipher " + params.Cipher.Algorithm.String()}
	}
	if unmarshal(params.Key.Parameters.FullBytes, &key) != nil || unmarshal(params.Cipher.Parameters.FullBytes, &iv) != nil {
		return nil, errBER
	}
	newHash := pseudorandom(key.Hash.Algorithm)
	if newHash == nil {
		return nil, unsupportedError{"pseudorandom function " + key.Hash.Algorithm.String()}
	}
	if key.Rounds < 1 || key.Rounds > maxIterations {
		return nil, unsupportedError{fmt.Sprintf("an iteration count of %d", key.Rounds)}
	}

	secret, err := pbkdf2.Key(newHash, password, key.Salt, key.Rounds, size)
	if err != nil {
		return nil, err
	}
	block, err := newCipher(secret)
	if err != nil {
		return nil, err
	}
	if len(iv) != block.BlockSize() || len(ciphertext) == 0 || len(ciphertext)%block.BlockSize() != 0 {
		return nil, errBER
	}
	plaintext := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plaintext, ciphertext)
	pad := int(plaintext[len(plaintext)-1])
	if pad == 0 || pad > block.BlockSize() || !bytes.HasSuffix(plaintext, bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errPassword
	}
	plaintext, err = toDER(plaintext[:len(plaintext)-pad])
	if err != nil {
		return nil, errPassword // the padding was right by chance
	}
	return plaintext, nil
}

// pseudorandom returns the hash of a pseudorandom function for PBKDF2 (RFC 8018,
// appendix B.1.2); nil: unsupported. The default is SHA-1.
func pseudorandom(oid asn1.ObjectIdentifier) func() hash.Hash {
	switch oid.String() {
	case "", "1.2.840.113549.2.7":
		return sha1.New
	case "1.2.840.113549.2.8":
		return sha256.New224
	case "1.2.840.113549.2.9":
		return sha256.New
	case "1.2.840.113549.2.10":
		return sha512.New384
	case "1.2.840.113549.2.11":
		return sha512.New
	}
	return nil
}

// blockCipher returns a cipher of RFC 8018, appendix B.2, and the size of its key
// in bytes; nil: unsupported.
func blockCipher(oid asn1.ObjectIdentifier) (newCipher func([]byte) (cipher.Block, error), size int) {
	switch oid.String() {
	case "2.16.840.1.101.3.4.1.2":
		return aes.NewCipher, 16
	case "2.16.840.1.101.3.4.1.22":
		return aes.NewCipher, 24
	case "2.16.840.1.101.3.4.1.42":
		return aes.NewCipher, 32
	case "1.2.840.113549.3.7": // 3DES, the default of openssl req
		return des.NewTripleDESCipher, 24
	}
	return nil, 0
}
