// Command facegcn asks a server for the mesh of a face in a photo and writes it
// as an OBJ file, in the photo's pixels. README.md says how to build it.
//
//	facegcn -server localhost:8500 -box 150,40,310,210 photo.jpg face.obj
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"

	pb "facegcn/predict"
)

// Of tensorflow/core/framework/types.proto.
const (
	dtFloat  = 1
	dtString = 7
)

func main() {
	log.SetFlags(0)
	server := flag.String("server", "localhost:8500", "HOST:PORT")
	model := flag.String("model", "facegcn", "the server's name of the model")
	box := flag.String("box", "", "LEFT,TOP,RIGHT,BOTTOM around the face, in pixels; empty if the photo shows little else")
	timeout := flag.Duration("timeout", 30*time.Second, "how long to wait")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "Usage: facegcn [flags] PHOTO FILE.obj")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	request, err := newRequest(*model, flag.Arg(0), *box)
	if err != nil {
		log.Fatalf("facegcn: %v", err)
	}
	response, err := predict(*server, request, *timeout)
	if err != nil {
		log.Fatalf("facegcn: %s: %v", *server, err)
	}
	vertices, err := points(response.Outputs["vertices"])
	if err != nil {
		log.Fatalf("facegcn: vertices: %v", err)
	}
	if err := writeOBJ(flag.Arg(1), vertices); err != nil {
		log.Fatalf("facegcn: %v", err)
	}
	fmt.Printf("%s: %d vertices, of version %d\n", flag.Arg(1), len(vertices), response.GetModelSpec().GetVersion().GetValue())
}

// newRequest asks for the mesh of a JPEG or PNG file, which the server decodes.
func newRequest(model, photo, box string) (*pb.PredictRequest, error) {
	data, err := os.ReadFile(photo)
	if err != nil {
		return nil, err
	}
	request := &pb.PredictRequest{
		ModelSpec: &pb.ModelSpec{Name: model, SignatureName: "encoded"},
		Inputs: map[string]*pb.TensorProto{
			"photos": {Dtype: dtString, TensorShape: shape(1), StringVal: [][]byte{data}},
		},
	}
	if box == "" {
		return request, nil
	}
	edges := make([]float32, 4)
	if n, err := fmt.Sscanf(box, "%g,%g,%g,%g", &edges[0], &edges[1], &edges[2], &edges[3]); n != 4 {
		return nil, fmt.Errorf("-box: expected LEFT,TOP,RIGHT,BOTTOM, received %q (%v)", box, err)
	}
	request.ModelSpec.SignatureName = "encoded_boxes"
	request.Inputs["boxes"] = &pb.TensorProto{Dtype: dtFloat, TensorShape: shape(1, 4), FloatVal: edges}
	return request, nil
}

func predict(server string, request *pb.PredictRequest, timeout time.Duration) (*pb.PredictResponse, error) {
	// For TLS: grpc.WithTransportCredentials(credentials.NewTLS(...)).
	connection, err := grpc.Dial(server, grpc.WithInsecure(),
		// A mesh takes 0.64 MB, gRPC's own limit is 4 MB.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	response := &pb.PredictResponse{}
	err = connection.Invoke(ctx, "/tensorflow.serving.PredictionService/Predict", request, response)
	return response, err
}

// points takes the first row of a tensor of points. Servers write numbers in
// either of two fields.
func points(tensor *pb.TensorProto) ([][3]float32, error) {
	dims := tensor.GetTensorShape().GetDim()
	if tensor.GetDtype() != dtFloat || len(dims) != 3 || dims[0].Size < 1 || dims[2].Size != 3 {
		return nil, fmt.Errorf("expected float32 (n, vertices, 3), received type %d, shape %v", tensor.GetDtype(), dims)
	}
	values := tensor.FloatVal
	if content := tensor.TensorContent; len(content) > 0 {
		values = make([]float32, len(content)/4)
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(content[4*i:]))
		}
	}
	found := make([][3]float32, dims[1].Size)
	if len(values) < 3*len(found) {
		return nil, fmt.Errorf("expected %d numbers, received %d", 3*len(found), len(values))
	}
	for i := range found {
		copy(found[i][:], values[3*i:])
	}
	return found, nil
}

// writeOBJ writes points with y up, as viewers expect them; photos have it down.
func writeOBJ(path string, vertices [][3]float32) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	writer := bufio.NewWriter(file)
	for _, v := range vertices {
		fmt.Fprintf(writer, "v %.4f %.4f %.4f\n", v[0], -v[1], v[2])
	}
	if err := writer.Flush(); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

func shape(sizes ...int64) *pb.TensorShapeProto {
	found := &pb.TensorShapeProto{}
	for _, size := range sizes {
		found.Dim = append(found.Dim, &pb.TensorShapeProto_Dim{Size: size})
	}
	return found
}
