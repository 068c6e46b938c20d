# The page and the command line. CPU by default; for a GPU:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t profactory:cuda .
#   docker run --rm --gpus all -v "$PWD:/data" profactory:cuda doctor
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /opt/profactory
COPY . .
# One resolution: torch comes from its own index (2.x+cpu is above 2.x), everything else from PyPI.
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url "$TORCH_INDEX" \
      ".[ui,homology,sweep,export,structure,features,hub,embed]" \
 && useradd --create-home scientist \
 && mkdir /data && chown scientist /data
USER scientist
WORKDIR /data
# Caches lie beside the data, so that they outlive the container.
ENV PROFACTORY_CACHE=/data/.cache/profactory HF_HOME=/data/.cache/huggingface
EXPOSE 7860
ENTRYPOINT ["profactory"]
CMD ["--help"]
