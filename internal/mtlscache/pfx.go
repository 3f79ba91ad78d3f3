package mtlscache

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// Object identifiers of RFC 7292, RFC 2315 and RFC 9879.
var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedKey   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidX509          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidPBMAC1        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
	oidHMACSHA256    = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
)

// The structures of RFC 7292, section 4, and RFC 2315, section 13. A RawValue
// stands for an explicit [0] and its content.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MAC      asn1.RawValue `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	encryptedData struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Content   asn1.RawValue // implicit [0], perhaps in pieces
		}
	}
	safeBag struct {
		Kind       asn1.ObjectIdentifier
		Value      asn1.RawValue
		Attributes asn1.RawValue `asn1:"optional"`
	}
	certBag struct {
		Kind  asn1.ObjectIdentifier
		Value []byte `asn1:"explicit,tag:0"`
	}
	encryptedKey struct { // EncryptedPrivateKeyInfo of RFC 5958
		Algorithm pkix.AlgorithmIdentifier
		Content   []byte
	}
)

// maxBundles bounds how often one read derives a key from the password.
const maxBundles = 16

// parts is the content of a PKCS#12 file, decrypted where it uses PBES2. The library
// decrypts the parts in legacy, which use the older encryption with 3DES or RC2.
type parts struct {
	keys     []safeBag
	certs    []*x509.Certificate
	legacy   []contentInfo
	warnings []string
}

// takeApart reads the parts of a PKCS#12 file whose outermost level is DER. It does
// not check the MAC.
func takeApart(der []byte, password string) (*parts, error) {
	var (
		file   pfx
		octets []byte
		infos  []contentInfo
	)
	if unmarshal(der, &file) != nil || file.Version != 3 || !file.AuthSafe.Type.Equal(oidData) ||
		unmarshal(file.AuthSafe.Content.Bytes, &octets) != nil || unmarshalBER(octets, &infos) != nil {
		return nil, errBER
	}
	p := &parts{}
	for _, info := range infos {
		var err error
		switch {
		case info.Type.Equal(oidData):
			if err = unmarshal(info.Content.Bytes, &octets); err == nil {
				err = p.addBags(octets, password)
			}
		case info.Type.Equal(oidEncryptedData):
			err = p.addEncrypted(info.Content.Bytes, password)
		default:
			err = unsupportedError{"content of type " + info.Type.String()}
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// addEncrypted adds the content of an EncryptedData.
func (p *parts) addEncrypted(der []byte, password string) error {
	var data encryptedData
	if err := unmarshal(der, &data); err != nil {
		return err
	}
	algorithm, content := data.Info.Algorithm, &data.Info.Content
	if content.IsCompound { // octets in pieces behind an implicit tag
		whole, err := joined(content.Bytes)
		if err != nil {
			return err
		}
		*content = asn1.RawValue{Class: content.Class, Tag: content.Tag, Bytes: whole}
	}
	switch {
	case algorithm.Algorithm.Equal(oidPBES2):
		bags, err := decryptPBES2(algorithm, content.Bytes, password)
		if err != nil {
			return err
		}
		return p.addBags(bags, password)
	case isLegacy(algorithm):
		der, err := asn1.Marshal(data)
		p.legacy = append(p.legacy, contentInfo{oidEncryptedData, explicit(der)})
		return err
	}
	return unsupportedError{"encryption " + algorithm.Algorithm.String()}
}

// addBags adds the bags of SafeContents in BER. It ignores names and other
// attributes of a bag: the key decides which certificate belongs to it. It ignores
// bags of other kinds.
func (p *parts) addBags(ber []byte, password string) error {
	var bags []safeBag
	if err := unmarshalBER(ber, &bags); err != nil {
		return err
	}
	for _, bag := range bags {
		bag.Attributes = asn1.RawValue{}
		switch {
		case bag.Kind.Equal(oidKeyBag):
			p.keys = append(p.keys, bag)
		case bag.Kind.Equal(oidShroudedKey):
			var key encryptedKey
			if err := unmarshal(bag.Value.Bytes, &key); err != nil {
				return err
			}
			if key.Algorithm.Algorithm.Equal(oidPBES2) {
				plain, err := decryptPBES2(key.Algorithm, key.Content, password)
				if err != nil {
					return err
				}
				bag.Kind, bag.Value = oidKeyBag, explicit(plain)
			} else if !isLegacy(key.Algorithm) {
				return unsupportedError{"encryption " + key.Algorithm.Algorithm.String()}
			}
			p.keys = append(p.keys, bag)
		case bag.Kind.Equal(oidCertBag):
			var held certBag
			if err := unmarshal(bag.Value.Bytes, &held); err != nil {
				return err
			}
			if !held.Kind.Equal(oidX509) {
				continue
			}
			cert, err := x509.ParseCertificate(held.Value)
			if err != nil {
				p.warnings = append(p.warnings, refusal(len(p.certs)+len(p.warnings)+1, err))
				continue
			}
			p.certs = append(p.certs, cert)
		}
	}
	return nil
}

// bundles returns PKCS#12 files that the library can read: one for each key and
// legacy part, each with all certificates.
func (p *parts) bundles(password string) ([][]byte, error) {
	var certs []safeBag
	for _, cert := range p.certs {
		der, err := asn1.Marshal(certBag{oidX509, cert.Raw})
		if err != nil {
			return nil, err
		}
		certs = append(certs, safeBag{Kind: oidCertBag, Value: explicit(der)})
	}
	keys := [][]safeBag{certs} // the key is in a legacy part
	if len(p.keys) > 0 {
		keys = nil
	}
	for _, key := range p.keys {
		keys = append(keys, append([]safeBag{key}, certs...))
	}
	legacy := [][]contentInfo{nil}
	if len(p.legacy) > 0 {
		legacy = nil
	}
	for _, info := range p.legacy {
		legacy = append(legacy, []contentInfo{info})
	}
	if len(keys)*len(legacy) > maxBundles {
		return nil, unsupportedError{fmt.Sprintf("more than %d keys", maxBundles)}
	}

	var files [][]byte
	for _, bags := range keys {
		for _, infos := range legacy {
			der, err := bundle(bags, infos, password)
			if err != nil {
				return nil, err
			}
			files = append(files, der)
		}
	}
	return files, nil
}

// bundle returns a PKCS#12 file with plain bags and further, encrypted content.
func bundle(bags []safeBag, more []contentInfo, password string) ([]byte, error) {
	contents, err := asn1.Marshal(bags)
	if err != nil {
		return nil, err
	}
	first, err := data(contents)
	if err != nil {
		return nil, err
	}
	safe, err := asn1.Marshal(append([]contentInfo{first}, more...))
	if err != nil {
		return nil, err
	}
	return seal(safe, password)
}

// seal returns a PKCS#12 file around an AuthenticatedSafe. If there is a password,
// it adds a MAC (PBMAC1 of RFC 9879), which the library then requires. One round is
// enough for a file that never leaves the process.
func seal(safe []byte, password string) ([]byte, error) {
	var err error
	file := pfx{Version: 3}
	if file.AuthSafe, err = data(safe); err != nil || password == "" {
		return marshal(file, err)
	}

	type (
		identifier struct{ Algorithm asn1.ObjectIdentifier }
		derivation struct {
			Algorithm asn1.ObjectIdentifier
			Params    struct {
				Salt         []byte
				Rounds, Size int
				Hash         identifier
			}
		}
		authentication struct {
			Mac struct {
				Algorithm struct {
					Algorithm asn1.ObjectIdentifier
					Params    struct {
						Key  derivation
						Hash identifier
					}
				}
				Digest []byte
			}
			Salt   []byte
			Rounds int
		}
	)
	const size, rounds = sha256.Size, 1
	salt := []byte("any salt")
	key, err := pbkdf2.Key(sha256.New, password, salt, rounds, size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(safe)
	var auth authentication
	auth.Mac.Algorithm.Algorithm = oidPBMAC1
	params := &auth.Mac.Algorithm.Params
	params.Key.Algorithm = oidPBKDF2
	params.Key.Params.Salt, params.Key.Params.Rounds, params.Key.Params.Size = salt, rounds, size
	params.Key.Params.Hash.Algorithm, params.Hash.Algorithm = oidHMACSHA256, oidHMACSHA256
	auth.Mac.Digest, auth.Salt, auth.Rounds = mac.Sum(nil), salt, rounds
	file.MAC.FullBytes, err = asn1.Marshal(auth)
	return marshal(file, err)
}

// isLegacy reports whether a is 3DES or RC2 of RFC 7292, appendix C.
func isLegacy(a pkix.AlgorithmIdentifier) bool {
	switch a.Algorithm.String() {
	case "1.2.840.113549.1.12.1.3", "1.2.840.113549.1.12.1.5", "1.2.840.113549.1.12.1.6":
		return true
	}
	return false
}

// data returns octets as a ContentInfo.
func data(octets []byte) (contentInfo, error) {
	der, err := asn1.Marshal(octets)
	return contentInfo{oidData, explicit(der)}, err
}

// explicit returns an element behind an explicit [0].
func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
}

// marshal returns file in DER, or err if it is not nil.
func marshal(file pfx, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(file)
}

// unmarshal reads one element of DER.
func unmarshal(der []byte, v any) error {
	if rest, err := asn1.Unmarshal(der, v); err != nil || len(rest) > 0 {
		return errBER
	}
	return nil
}

// unmarshalBER reads one element of BER.
func unmarshalBER(ber []byte, v any) error {
	der, err := toDER(ber)
	if err != nil {
		return err
	}
	return unmarshal(der, v)
}
